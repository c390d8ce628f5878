// kernels/cuda's cross-entropy in both element types, whole and over shards of the vocabulary.
#include "kernels/cuda/ops/cross_entropy.hpp"

#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// Rows that a warp holds, that a block holds, and one of several groups of packs.
const std::vector<Shape> shapes{{1, 1}, {3, 7}, {40, 172}, {7, 1003}, {5, 4096}, {2, 50003}};

constexpr double scale = 0.125;

std::vector<int32_t> labels_for(const Shape& shape) {
  auto labels = random_integers(static_cast<size_t>(shape[0]), shape[1], 2);
  for (size_t i = 0; i < labels.size(); i += 3) labels[i] = ignored_label;
  labels.back() = static_cast<int32_t>(shape[1]) - 1;
  return labels;
}

std::vector<float> total(const std::vector<double>& losses) {
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return {static_cast<float>(sum)};
}

double* doubles(Device& device, int64_t count) {
  return static_cast<double*>(device.vector(2 * count, Element::f32));
}

}  // namespace

TEST_CASE("cross_entropy agrees with the reference in both element types", "[cuda]") {
  for (const Element element : elements)
    for (const Shape& shape : shapes) {
      CAPTURE(shape.to_string());
      const Values logits = rounded(random_values(shape, 1, 4), element);
      const auto labels = labels_for(shape);
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor x = bench.input(logits);
        const double loss = cross_entropy(bench.ops, x, labels, scale);
        return Outputs{bench.read(x), {static_cast<float>(loss)}};
      });
      agrees(element, expected, [&](Device& device) {
        const Matrix x = device.matrix(logits, element);
        double* const losses = doubles(device, shape[0]);
        cuda::cross_entropy(device.stream(), x, device.array(labels), scale, losses);
        return Outputs{device.read(x), total(device.read(losses, shape[0]))};
      });
    }
}

TEST_CASE("cross_entropy over shards agrees with the reference, and every shard has the loss's bits",
          "[cuda]") {
  for (const Element element : elements)
    for (const Shape& shape : shapes) {
      if (shape[1] < 7) continue;
      CAPTURE(shape.to_string());
      const int64_t tokens = shape[0], vocab = shape[1];
      const std::vector<int64_t> starts{0, vocab / 5, vocab / 3, vocab / 3, vocab};  // one is empty
      const Values logits = rounded(random_values(shape, 1, 4), element);
      const auto labels = labels_for(shape);
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor x = bench.input(logits);
        const double loss = cross_entropy(bench.ops, x, labels, scale);
        return Outputs{bench.read(x), {static_cast<float>(loss)}};
      });
      agrees(element, expected, [&](Device& device) {
        const Matrix x = device.matrix(logits, element);
        const int64_t shards = static_cast<int64_t>(starts.size()) - 1;
        double* const statistics = doubles(device, 3 * tokens * shards);
        const int32_t* const on_device = device.array(labels);
        const auto shard = [&](size_t r) {
          const int64_t bytes = element == Element::bf16 ? 2 : 4;
          return Matrix{static_cast<char*>(x.data) + starts[r] * bytes, element, tokens,
                        starts[r + 1] - starts[r], x.stride};
        };
        for (size_t r = 0; r + 1 < starts.size(); ++r)
          cuda::softmax_statistics(device.stream(), shard(r), on_device, starts[r],
                                   statistics + 3 * tokens * static_cast<int64_t>(r));
        std::vector<double> losses;
        for (size_t r = 0; r + 1 < starts.size(); ++r) {
          double* const of_shard = doubles(device, tokens);
          cuda::cross_entropy_from_statistics(device.stream(), shard(r), on_device, starts[r], statistics,
                                              shards, scale, of_shard);
          const auto found = device.read(of_shard, tokens);
          if (r > 0) CHECK(found == losses);
          losses = found;
        }
        return Outputs{device.read(x), total(losses)};
      });
    }
}

TEST_CASE("softmax statistics of a shard without a finite logit have no part in the sum", "[cuda]") {
  const float low = -std::numeric_limits<float>::infinity();
  for (const Element element : elements) {
    Device device;
    const Matrix x = device.matrix({{5, 2}, {4, 4, 1, 1, 2, 0, low, low, low, 3}}, element);
    double* const statistics = doubles(device, 15);
    // The shard has ids 10 and 11.
    const std::vector<int32_t> labels{9, ignored_label, 11, 12, 10};
    cuda::softmax_statistics(device.stream(), x, device.array(labels), 10, statistics);
    const auto found = device.read(statistics, 15);
    const double lowest = static_cast<double>(low);
    CHECK(found[7] == Approx(1 + std::exp(-2.0)));
    std::vector<double> exact = found;
    exact[7] = 0;
    CHECK(exact == std::vector<double>{4, 2, 0, 0, 0, 0, 2, 0, 0, lowest, 0, 0, 3, 1, lowest});
  }
}

TEST_CASE("a logit that is not a number makes the loss not a number", "[cuda]") {
  for (const Element element : elements)
    for (const int64_t width : {int64_t{9}, int64_t{3000}}) {
      CAPTURE(width);
      Device device;
      Values logits = random_values({2, width}, 1);
      logits.data[static_cast<size_t>(width) - 2] = std::numeric_limits<float>::quiet_NaN();
      const std::vector<int32_t> labels{0, 0};
      double* const losses = doubles(device, 2);
      cuda::cross_entropy(device.stream(), device.matrix(logits, element), device.array(labels), scale,
                          losses);
      const auto found = device.read(losses, 2);
      CHECK(std::isnan(found[0]));
      CHECK(std::isfinite(found[1]));
    }
}
