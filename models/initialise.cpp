#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <vector>

#include "base/random.hpp"
#include "models/pieces.hpp"
#include "models/stage_model.hpp"

namespace collie {
namespace {

// (0, 1]: never zero, so that its logarithm is finite.
double open_uniform(uint32_t bits) {
  return (static_cast<double>(bits) + 1.0) * 0x1.0p-32;
}

// One Philox block gives the elements 4 · index .. 4 · index + 3, by Box-Muller twice. 32 bits a uniform
// reach 6.6 deviations, enough for weights.
std::array<double, 4> four_normals(uint64_t key, uint64_t index) {
  const auto words = philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                                {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
  std::array<double, 4> normals{};
  for (size_t pair = 0; pair < 2; ++pair) {
    const double radius = std::sqrt(-2.0 * std::log(open_uniform(words[2 * pair])));
    const double angle = 2.0 * std::numbers::pi * open_uniform(words[2 * pair + 1]);
    normals[2 * pair] = radius * std::cos(angle);
    normals[2 * pair + 1] = radius * std::sin(angle);
  }
  return normals;
}

// One Philox block gives four numbers from [-1, 1).
std::array<double, 4> four_uniforms(uint64_t key, uint64_t index) {
  const auto words = philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                                {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
  std::array<double, 4> uniforms{};
  for (size_t i = 0; i < 4; ++i) uniforms[i] = static_cast<double>(words[i]) * 0x1.0p-31 - 1.0;
  return uniforms;
}

void fill_random(const Parameter& parameter, uint64_t key, int64_t begin, std::span<float> values) {
  const auto four = parameter.initialisation == Initialisation::normal ? four_normals : four_uniforms;
  const int64_t end = begin + static_cast<int64_t>(values.size());
  for (int64_t block = begin / 4; 4 * block < end; ++block) {
    const auto numbers = four(key, static_cast<uint64_t>(block));
    for (int64_t lane = 0; lane < 4; ++lane)
      if (const int64_t index = 4 * block + lane; index >= begin && index < end)
        values[static_cast<size_t>(index - begin)] =
            static_cast<float>(parameter.deviation * numbers[static_cast<size_t>(lane)]);
  }
}

}  // namespace

void initialise_range(const Parameter& parameter, uint64_t seed, int64_t begin, Operations& operations,
                      Tensor& flat) {
  const int64_t numel = flat.numel();
  COLLIE_ASSERT(begin >= 0 && begin + numel <= parameter.shape.numel(), "{}: elements [{}, {}) of {}",
                parameter.name, begin, begin + numel, parameter.shape.to_string());
  if (parameter.initialisation == Initialisation::ones || parameter.initialisation == Initialisation::zeros)
    return operations.fill(flat, parameter.initialisation == Initialisation::ones ? 1.0 : 0.0);
  constexpr int64_t block = 1 << 22, piece = 1 << 14;  // the block bounds the host buffer
  std::vector<float> values;
  for (int64_t from = 0; from < numel; from += block) {
    const int64_t to = std::min(from + block, numel);
    values.resize(static_cast<size_t>(to - from));
    operations.for_host_pieces(to - from, piece, [&](int64_t first, int64_t last) {
      for_each_run(parameter, begin + from + first, begin + from + last, [&](const TensorRun& run) {
        const uint64_t key = random_key(seed, "initialise/" + run.piece.tensor);
        fill_run(run, values.data() + (run.held - begin - from),
                 [&](std::span<float> dense) { fill_random(parameter, key, run.first, dense); });
      });
    });
    Tensor part = flat.rows(from, to);
    operations.upload(values, part);
  }
}

void initialise(const Parameter& parameter, uint64_t seed, Operations& operations, Tensor& weight) {
  COLLIE_ASSERT(weight.shape() == parameter.shape, "{}: {} given for {}", parameter.name,
                weight.shape().to_string(), parameter.shape.to_string());
  Tensor flat = weight.reshape({weight.numel()});
  initialise_range(parameter, seed, 0, operations, flat);
}

}  // namespace collie
