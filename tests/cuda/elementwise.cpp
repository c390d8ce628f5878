// kernels/cuda's elementwise kernels and sums in both element types.
#include "kernels/cuda/api.hpp"
#include "kernels/cuda/ops/column_sums.hpp"
#include "kernels/cuda/ops/reductions.hpp"
#include "kernels/cuda/ops/rope.hpp"
#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("rope agrees with the reference in both element types", "[cuda]") {
  struct Sizes {
    int64_t tokens, heads, head_dim, half;
  };
  const std::vector<Sizes> sizes{{0, 2, 8, 4},   {1, 1, 2, 1},     {7, 3, 6, 3},     {33, 4, 64, 32},
                                 {9, 5, 42, 21}, {3, 40, 128, 64}, {2, 1, 600, 300}, {33, 4, 64, 8},
                                 {7, 3, 80, 16}, {5, 2, 7, 1},     {6, 3, 20, 6}};
  const bool neighbours = GENERATE(false, true);
  const RotaryPairs pairs = neighbours ? RotaryPairs::neighbours : RotaryPairs::halves;
  for (const Element element : elements)
    for (const auto& [tokens, heads, head_dim, half] : sizes) {
      const bool inverse = tokens % 2 == 1;
      CAPTURE(tokens, heads, head_dim, half, inverse, neighbours);
      const int64_t width = heads * head_dim, known = 50;
      const Values x = rounded(random_values({tokens, width}, 1), element);
      const Values cosines = random_values({known, half}, 2), sines = random_values({known, half}, 3);
      const auto positions = random_integers(static_cast<size_t>(tokens), known, 4);
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor in = bench.input(x), turned = in.reshape({tokens, heads, head_dim});
        bench.ops.rope(turned, bench.input(cosines), bench.input(sines), positions, inverse, pairs);
        return Outputs{bench.read(in)};
      });
      agrees(element, expected, [&](Device& device) {
        const Matrix in = device.matrix(x, element);
        cuda::rope(device.stream(), in, heads, head_dim, device.matrix(cosines, Element::f32),
                   device.matrix(sines, Element::f32), device.array(positions), inverse, neighbours);
        return Outputs{device.read(in)};
      });
    }
}

TEST_CASE("column_sum agrees with the reference in both element types, also into the other", "[cuda]") {
  for (const Element element : elements)
    for (const Element out_element : elements)
      for (const Shape& shape :
           {Shape{0, 8}, Shape{1, 1}, Shape{33, 7}, Shape{5000, 3}, Shape{200, 65}, Shape{70, 300}}) {
        CAPTURE(shape.to_string());
        const bool accumulate = shape[0] == 33 || shape[0] == 70;
        const Values x = rounded(random_values(shape, 1), element);
        const Values before = rounded(random_values({shape[1]}, 2), out_element);
        const Outputs expected = by_reference([&](Bench& bench) {
          Tensor out = bench.output(before, accumulate);
          bench.ops.column_sum(bench.input(x), out, accumulate);
          return Outputs{bench.read(out)};
        });
        agrees(out_element, expected, [&](Device& device) {
          void* const out =
              accumulate ? device.vector(before, out_element) : device.vector(shape[1], out_element);
          void* const sums = device.vector(cuda::column_sum_workspace(shape[0], shape[1]), Element::f32);
          cuda::column_sum(device.stream(), device.matrix(x, element), out, out_element, accumulate,
                           static_cast<float*>(sums));
          return Outputs{device.read(out, shape[1], out_element)};
        });
      }
}

TEST_CASE("the slices of a column sum are few enough for any shape", "[cuda]") {
  CHECK(cuda::column_slices(0, 8) == 0);
  CHECK(cuda::column_slices(1, 1) == 1);
  CHECK(cuda::column_slices(33, 1 << 20) == 1);
  CHECK(cuda::column_slices(8192, 4096) == 32);
  CHECK(cuda::column_slices(int64_t{1} << 31, 1) == 1024);
}

TEST_CASE("block_sums_of_squares agrees with double sums in both element types, wherever x starts",
          "[cuda]") {
  for (const Element element : elements)
    for (const int64_t count : {int64_t{0}, int64_t{1}, int64_t{31}, int64_t{4096}, int64_t{3 * 4096 + 17}}) {
      CAPTURE(count);
      const Values x = rounded(random_values({count + 1}, 1), element);
      Device device;
      const int64_t blocks = (count + 4095) / 4096;
      double* const out = static_cast<double*>(device.vector(2 * blocks + 2, Element::f32));
      const char* const data = static_cast<const char*>(device.vector(x, element));
      for (const int64_t start : {0, 1}) {
        const size_t bytes = static_cast<size_t>(start) * (element == Element::bf16 ? 2 : 4);
        cuda::block_sums_of_squares(device.stream(), data + bytes, element, count, out);
        cudaMemsetAsync(out + blocks, 0, sizeof(double), device.stream());
        for (int i = 0; i < 2; ++i) cuda::add_sum(device.stream(), out, blocks, out + blocks);
        const auto found = device.read(out, blocks + 1);
        double total = 0;
        for (int64_t block = 0; block < blocks; ++block) {
          double sum = 0;
          for (int64_t i = block * 4096; i < std::min(count, (block + 1) * 4096); ++i)
            sum += std::pow(static_cast<double>(x.data[static_cast<size_t>(start + i)]), 2);
          CHECK(found[static_cast<size_t>(block)] == Approx(sum).epsilon(1e-13));
          total += sum;
        }
        CHECK(found.back() == Approx(2 * total).epsilon(1e-13));
      }
    }
}
