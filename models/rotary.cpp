#include "models/rotary.hpp"

#include <cmath>
#include <vector>

namespace collie {

RotaryTables make_rotary_tables(const ModelConfig& config, Operations& operations) {
  const int64_t rotated = config.rotary_dim > 0 ? config.rotary_dim : config.head_dim;
  const int64_t positions = config.max_position_embeddings, half = rotated / 2;
  RotaryTables tables{
      operations.empty({positions, half}, operations.accumulation_dtype(), Category::workspace),
      operations.empty({positions, half}, operations.accumulation_dtype(), Category::workspace)};
  if (!operations.has_values()) return tables;
  std::vector<float> frequencies(static_cast<size_t>(half));
  for (int64_t i = 0; i < half; ++i)
    frequencies[static_cast<size_t>(i)] = static_cast<float>(
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(rotated)));
  std::vector<float> cosines, sines;
  cosines.reserve(static_cast<size_t>(positions * half));
  sines.reserve(cosines.capacity());
  for (int64_t p = 0; p < positions; ++p) {
    for (const float frequency : frequencies) {
      const double angle = static_cast<float>(p) * frequency;  // a float product on purpose
      cosines.push_back(static_cast<float>(std::cos(angle)));
      sines.push_back(static_cast<float>(std::sin(angle)));
    }
  }
  operations.upload(cosines, tables.cosines);
  operations.upload(sines, tables.sines);
  return tables;
}

ModelConfig with_rotation_of(ModelConfig config, int64_t block) {
  if (const double theta = config.block(block).rope_theta; theta != 0) config.rope_theta = theta;
  return config;
}

const RotaryTables& BlockRotations::of(const ModelConfig& config, int64_t block, Operations& operations) {
  const ModelConfig own = with_rotation_of(config, block);
  const auto [at, added] = tables_.try_emplace(own.rope_theta);
  if (added && config.positions == Positions::rotary) at->second = make_rotary_tables(own, operations);
  return at->second;
}

}  // namespace collie
