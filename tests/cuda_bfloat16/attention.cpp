// Attention as the operation table computes it, by cuDNN where a GPU and cuDNN are there
// (COLLIE_ENGINE_ATTENTION=cudnn insists), at shapes that it takes; by the own kernels elsewhere.
#include <fmt/format.h>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Case {
  int64_t heads, kv_heads, head_dim;
  AttentionSpans spans;
};

Values rounded(Values values) {
  for (float& value : values.data) value = host::from_bf16(host::to_bf16(value));
  return values;
}

// q, k and v are columns of one buffer where queries and keys are the same tokens, as in a model; the
// gradients, too. The backward is given the reference's out and log_sum_exp.
class Computation {
 public:
  explicit Computation(const Case& c) : c_(c) {}

  struct Result {
    Values out;
    Values log_sum_exp;
    Outputs gradients;
  };
  Result run(Operations& operations, const Result* given) const {
    Bench bench(operations, false);
    Buffers in(bench, c_), gradients(bench, c_);
    in.fill(operations);
    Tensor out = bench.output(q_shape()), sums = bench.statistics(Shape{queries(), c_.heads});
    operations.attention(in.q, in.k, in.v, c_.spans, score_scale(), out, sums);
    Result result{{q_shape(), bench.read(out)}, {{queries(), c_.heads}, bench.read(sums)}, {}};
    const Result& known = given != nullptr ? *given : result;
    const Tensor d_out = bench.input(rounded(random_values(q_shape(), 4)));
    operations.attention_backward(in.q, in.k, in.v, c_.spans, score_scale(), bench.input(rounded(known.out)),
                                  bench.statistics(known.log_sum_exp), d_out, gradients.q, gradients.k,
                                  gradients.v);
    result.gradients = {bench.read(gradients.q), bench.read(gradients.k), bench.read(gradients.v)};
    return result;
  }

 private:
  struct Buffers {
    Buffers(Bench& bench, const Case& c) {
      const int64_t queries = c.spans.query_starts.back(), keys = c.spans.key_starts.back(),
                    wide = c.heads * c.head_dim, narrow = c.kv_heads * c.head_dim;
      const Tensor all = bench.dense_output(Shape{std::max(queries, keys), wide + 2 * narrow});
      q = all.rows(0, queries).columns(0, wide).reshape({queries, c.heads, c.head_dim});
      const Tensor of_keys = all.rows(0, keys);
      k = of_keys.columns(wide, wide + narrow).reshape({keys, c.kv_heads, c.head_dim});
      v = of_keys.columns(wide + narrow, wide + 2 * narrow).reshape({keys, c.kv_heads, c.head_dim});
    }
    void fill(Operations& operations) {
      operations.upload(rounded(random_values(q.shape(), 1, 2)).data, q);
      operations.upload(rounded(random_values(k.shape(), 2, 2)).data, k);
      operations.upload(rounded(random_values(v.shape(), 3)).data, v);
    }
    Tensor q, k, v;
  };

  int64_t queries() const { return c_.spans.query_starts.back(); }
  Shape q_shape() const { return {queries(), c_.heads, c_.head_dim}; }
  double score_scale() const { return 1 / std::sqrt(static_cast<double>(c_.head_dim)); }
  Case c_;
};

void is_close(const Case& c) {
  INFO(fmt::format("heads {}/{} of {}, {}, window {}, {} documents of {} queries, {} keys", c.heads,
                   c.kv_heads, c.head_dim, c.spans.causal ? "causal" : "not causal", c.spans.window,
                   c.spans.query_starts.size() - 1, c.spans.query_starts.back(), c.spans.key_starts.back()));
  const Computation computation(c);
  const auto reference = make_reference_operations(std::make_shared<MemoryAccount>());
  const auto expected = computation.run(*reference, nullptr);
  for (const Implementation& each : implementations()) {
    INFO(each.name);
    const auto found = computation.run(*each.operations, &expected);
    CHECK(relative_error(found.out.data, expected.out.data) < 1e-2);
    CHECK(relative_error(found.log_sum_exp.data, expected.log_sum_exp.data) < 1e-2);
    for (size_t i = 0; i < 3; ++i) {
      INFO("gradient of "
           << "qkv"[i]);
      CHECK(relative_error(found.gradients[i], expected.gradients[i]) < 1e-2);
    }
    const auto again = computation.run(*each.operations, &expected);
    CHECK((again.out.data == found.out.data && again.gradients == found.gradients));
  }
}

}  // namespace

TEST_CASE("attention over packed documents in one buffer is close to the reference, with the same bits twice",
          "[attention_library]") {
  is_close({4, 2, 64, {{0, 3, 70}, {0, 3, 70}}});
  is_close({2, 2, 128, {{0, 40}, {0, 40}}});
  is_close({3, 1, 64, {{0, 5, 5, 60}, {0, 5, 5, 60}, true, 7}});
  is_close({4, 1, 64, {{0, 1, 6}, {0, 40, 75}}});
  is_close({2, 1, 64, {{0, 1, 2}, {0, 40, 75}}});
  is_close({2, 1, 64, {{0, 5, 20}, {0, 40, 75}, true, 9}});
  is_close({2, 1, 64, {{0, 30, 40}, {0, 9, 75}, false}});
}

TEST_CASE("attention over long packed documents is close to the reference, with the same bits twice",
          "[attention_library][slow]") {
  is_close({6, 2, 128, {{0, 300, 301, 600}, {0, 300, 301, 600}}});
  is_close({7, 1, 128, {{0, 500}, {0, 500}, true, 130}});
}
