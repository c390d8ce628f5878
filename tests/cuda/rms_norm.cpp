// kernels/cuda's RMSNorm in both element types, and joined with the residual connection.
#include "kernels/cuda/ops/rms_norm.hpp"

#include "kernels/cuda/ops/elementwise.hpp"
#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr float eps = 1e-5F;

struct Size {
  int64_t rows, width;
};
// A warp a row and a block a row; rows that a team holds in registers and rows that are longer; rows not of
// whole packs.
const std::vector<Size> sizes{{0, 8},    {3, 7},    {17, 16},  {70, 172},
                              {140, 65}, {5, 1500}, {9, 2052}, {1, 16411}};

struct Inputs {
  Values x, residual, weight, dy, d_residual, d_weight;
};
Inputs inputs_of(const Size& size, Element element) {
  const Shape shape{size.rows, size.width}, row{size.width};
  return {rounded(random_values(shape, 1, 2), element),    rounded(random_values(shape, 2), element),
          rounded(random_values(row, 3, 0.5, 1), element), rounded(random_values(shape, 4), element),
          rounded(random_values(shape, 5), element),       rounded(random_values(row, 6), element)};
}

float* workspace(Device& device, int64_t floats) {
  return static_cast<float*>(device.vector(floats, Element::f32));
}

}  // namespace

TEST_CASE("rms_norm and its backward agree with the reference in both element types", "[cuda]") {
  for (const Element element : elements)
    for (const Size& size : sizes) {
      CAPTURE(size.rows, size.width);
      const bool accumulate = size.rows % 2 == 1;
      const Inputs in = inputs_of(size, element);
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor y = bench.output(in.x.shape), r = bench.output(Shape{size.rows});
        Tensor dx = bench.output(in.d_residual, accumulate), dw = bench.output(in.d_weight, accumulate);
        const Tensor x = bench.input(in.x), w = bench.input(in.weight), dy = bench.input(in.dy);
        bench.ops.rms_norm(x, w, 0, static_cast<double>(eps), y, r);
        bench.ops.rms_norm_backward_input(dy, x, w, 0, r, accumulate ? dx : Tensor(), dx);
        bench.ops.rms_norm_backward_weight(dy, x, r, dw, accumulate);
        return Outputs{bench.read(y), bench.read(r), bench.read(dx), bench.read(dw)};
      });
      agrees(element, expected, [&](Device& device) {
        const Matrix x = device.matrix(in.x, element), dy = device.matrix(in.dy, element);
        const Matrix y = device.blank(size.rows, size.width, element);
        const Matrix dx =
            accumulate ? device.matrix(in.d_residual, element) : device.blank(size.rows, size.width, element);
        void* const w = device.vector(in.weight, element);
        void* const dw =
            accumulate ? device.vector(in.d_weight, element) : device.vector(size.width, element);
        float* const r = workspace(device, size.rows);
        float* const sums =
            workspace(device, cuda::rms_norm_backward_weight_workspace(size.rows, size.width));
        cuda::rms_norm(device.stream(), x, w, 0, eps, y, r);
        cuda::rms_norm_backward_input(device.stream(), dy, x, w, 0, r, accumulate ? &dx : nullptr, dx);
        cuda::rms_norm_backward_weight(device.stream(), dy, x, r, dw, element, accumulate, sums);
        return Outputs{device.read(y), device.read(r, size.rows, Element::f32), device.read(dx),
                       device.read(dw, size.width, element)};
      });
    }
}

TEST_CASE("add_rms_norm gives the bits of add, then rms_norm", "[cuda]") {
  for (const Element element : elements)
    for (const Size& size : sizes) {
      CAPTURE(size.rows, size.width);
      const Inputs in = inputs_of(size, element);
      for (const bool strided : {false, true}) {
        const bool in_place = size.rows % 2 == 1;
        Device device(strided);
        const Matrix x = device.matrix(in.x, element), residual = device.matrix(in.residual, element);
        void* const w = device.vector(in.weight, element);
        const auto blank = [&] { return device.blank(size.rows, size.width, element); };
        const Matrix sum = blank(), y = blank(), joined_y = blank(),
                     joined_sum = in_place ? residual : blank();
        float* const r = workspace(device, size.rows);
        float* const joined_r = workspace(device, size.rows);
        cuda::add(device.stream(), x, residual, sum);
        cuda::rms_norm(device.stream(), sum, w, 0, eps, y, r);
        cuda::add_rms_norm(device.stream(), x, residual, w, 0, eps, joined_sum, joined_y, joined_r);
        CHECK(device.read(joined_sum) == device.read(sum));
        CHECK(device.read(joined_y) == device.read(y));
        CHECK(device.read(joined_r, size.rows, Element::f32) == device.read(r, size.rows, Element::f32));
      }
    }
}
