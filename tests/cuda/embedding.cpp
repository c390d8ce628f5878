// kernels/cuda's embedding in both element types, and how tokens are listed by id.
#include "kernels/cuda/ops/embedding.hpp"

#include "kernels/cuda/ops/elementwise.hpp"
#include "tests/cuda/device.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("tokens_by_id lists ids in order, each with its tokens in order", "[cuda]") {
  const std::vector<int32_t> ids{7, -1, 3, 7, 3, 0, 7, -1};
  const cuda::TokensById tokens = cuda::tokens_by_id(ids);
  CHECK(tokens.ids == 3);
  CHECK(tokens.array == std::vector<int32_t>{0, 3, 7, 0, 1, 3, 6, 5, 2, 4, 0, 3, 6});
  const std::vector<int32_t> absent{-1, -1};
  CHECK(cuda::tokens_by_id(absent).ids == 0);
  CHECK(cuda::tokens_by_id({}).ids == 0);
}

TEST_CASE("embedding and its backward agree with the reference in both element types", "[cuda]") {
  for (const Element element : elements)
    for (const Shape& shape : {Shape{1, 1}, Shape{3, 7}, Shape{70, 172}, Shape{300, 9}, Shape{5, 3000}}) {
      CAPTURE(shape.to_string());
      const int64_t vocab = 11;
      const Values table = rounded(random_values({vocab, shape[1]}, 1), element);
      const Values d_out = rounded(random_values(shape, 2), element);
      auto ids = random_integers(static_cast<size_t>(shape[0]), vocab, 3);
      for (size_t i = 1; i < ids.size(); i += 4) ids[i] = absent_id;
      const Outputs expected = by_reference([&](Bench& bench) {
        Tensor out = bench.output(shape), d_table = bench.input(table);
        bench.ops.embedding(bench.input(table), ids, out);
        bench.ops.embedding_backward(ids, bench.input(d_out), d_table, true);
        return Outputs{bench.read(out), bench.read(d_table)};
      });
      agrees(element, expected, [&](Device& device) {
        const Matrix of_table = device.matrix(table, element), d_table = device.matrix(table, element);
        const Matrix out = device.blank(shape[0], shape[1], element);
        const cuda::TokensById tokens = cuda::tokens_by_id(ids);
        cuda::embedding(device.stream(), of_table, device.array(ids), out);
        cuda::embedding_backward(device.stream(), tokens.ids, device.array(tokens.array),
                                 device.matrix(d_out, element), d_table);
        return Outputs{device.read(out), device.read(d_table)};
      });
    }
}
