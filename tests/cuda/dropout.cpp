// kernels/cuda's dropout: the host generator's bits, in any layout, forward and backward.
#include "kernels/cuda/ops/dropout.hpp"

#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// The mask as its header defines it, by the host's generator.
bool dropped(uint64_t key, uint64_t index, double probability) {
  const uint64_t block = index / 4;
  const auto words = philox4x32({static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0},
                                {static_cast<uint32_t>(key), static_cast<uint32_t>(key >> 32)});
  return static_cast<double>(words[index % 4]) < probability * 0x1p32;
}

}  // namespace

TEST_CASE("dropout drops where the host's generator says, and scales the rest", "[cuda]") {
  const uint64_t key = random_key(7, "dropout test");
  for (const Element element : elements)
    for (const Shape& shape : {Shape{0, 8}, Shape{1, 1}, Shape{3, 7}, Shape{16, 64}, Shape{33, 250}})
      for (const int64_t first : {int64_t{0}, int64_t{6}, (int64_t{1} << 35) + 3}) {
        CAPTURE(shape.to_string(), first);
        const double probability = 0.25;
        const int64_t pitch = shape[1] + first % 5;
        const Values x = rounded(random_values(shape, 1, 1, 3), element);
        Values expected = x;
        for (int64_t row = 0; row < shape[0]; ++row)
          for (int64_t column = 0; column < shape[1]; ++column) {
            const auto index = static_cast<uint64_t>(first + row * pitch + column);
            float& at = expected.data[static_cast<size_t>(row * shape[1] + column)];
            at = dropped(key, index, probability) ? 0.0F : at * static_cast<float>(1 / (1 - probability));
          }
        expected = rounded(expected, element);
        agrees(element, {expected.data}, [&](Device& device) {
          const Matrix in = device.matrix(x, element), out = device.blank(shape[0], shape[1], element);
          cuda::dropout(device.stream(), in, {key, probability, first, pitch}, out);
          const auto found = device.read(out);
          CHECK(found == expected.data);
          cuda::dropout(device.stream(), in, {key, probability, first, pitch}, in);
          CHECK(device.read(in) == found);
          return Outputs{found};
        });
      }
}

TEST_CASE("dropout drops the fraction asked for, nothing at 0, all at 1", "[cuda]") {
  const int64_t count = 40000;
  Device device;
  const Matrix x =
      device.matrix({{1, count}, std::vector<float>(static_cast<size_t>(count), 1)}, Element::f32);
  const Matrix out = device.blank(1, count, Element::f32);
  for (const double probability : {0.0, 0.1, 0.5, 1.0}) {
    cuda::dropout(device.stream(), x, {11, probability, 0, count}, out);
    const auto found = device.read(out);
    const auto gone = std::count(found.begin(), found.end(), 0.0F);
    const double deviation = std::sqrt(static_cast<double>(count) * probability * (1 - probability));
    CHECK(std::abs(static_cast<double>(gone) - probability * static_cast<double>(count)) <= 4 * deviation);
  }
}

TEST_CASE("dropout's backward has the forward's mask, also on a part of the columns", "[cuda]") {
  const Shape shape{9, 40};
  const cuda::DropoutMask mask{3, 0.4, 100, shape[1]};
  Device device;
  const Values ones{shape, std::vector<float>(static_cast<size_t>(shape.numel()), 1)};
  const Values d_values = random_values(shape, 2, 1, 5);
  const Matrix x = device.matrix(ones, Element::f32), d_out = device.matrix(d_values, Element::f32);
  cuda::dropout(device.stream(), x, mask, x);
  const auto kept = device.read(x);
  // Two halves of the columns, as two ranks of a tensor group have them.
  for (const int64_t start : {0, 17}) {
    const int64_t width = start == 0 ? 17 : shape[1] - 17;
    const Matrix part{static_cast<float*>(d_out.data) + start, Element::f32, shape[0], width, shape[1]};
    cuda::dropout(device.stream(), part, {mask.key, mask.probability, mask.first + start, mask.pitch}, part);
  }
  const auto dx = device.read(d_out);
  for (size_t i = 0; i < dx.size(); ++i) CHECK(dx[i] == kept[i] * d_values.data[i]);
}
