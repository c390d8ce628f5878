// The reference itself: every backward operation against finite differences of its forward, in double.
#include <numeric>

#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

class Reference {
 public:
  Tensor zeros(const Shape& shape) {
    Tensor x = ops->empty(shape, Category::activations);
    ops->fill(x, 0);
    return x;
  }
  Tensor nan(const Shape& shape) {
    Tensor x = ops->empty(shape, Category::activations);
    ops->fill(x, std::numeric_limits<double>::quiet_NaN());
    return x;
  }
  Tensor random(const Shape& shape, uint64_t seed, double deviation = 1, double mean = 0) {
    Tensor x = ops->empty(shape, Category::activations);
    ops->upload(random_values(shape, seed, deviation, mean).data, x);
    return x;
  }
  const std::unique_ptr<Operations> ops = make_reference_operations(std::make_shared<MemoryAccount>());
};

double dot(const Tensor& a, const Tensor& b) {
  return std::inner_product(a.data<double>(), a.data<double>() + a.numel(), b.data<double>(), 0.0);
}

// Compares `gradient` with central differences of `loss` over the elements of x: within 1e-7 by norm.
void check_gradient(const std::string& what, const Tensor& x, const Tensor& gradient,
                    const std::function<double()>& loss) {
  constexpr double step = 1e-5;
  double difference = 0, norm = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& value = x.data<double>()[i];
    const double before = value;
    value = before + step;
    const double above = loss();
    value = before - step;
    const double below = loss();
    value = before;
    const double numeric = (above - below) / (2 * step);
    difference += std::pow(numeric - gradient.data<double>()[i], 2);
    norm += std::pow(numeric, 2);
  }
  INFO(what << " " << x.shape().to_string());
  CHECK(norm > 0);
  CHECK(std::sqrt(difference / norm) < 1e-7);
}

}  // namespace

TEST_CASE("the gemm forms are the gradients of x · Wᵀ", "[gradients]") {
  Reference r;
  const Tensor x = r.random({5, 4}, 1), w = r.random({3, 4}, 2), dy = r.random({5, 3}, 3);
  Tensor dx = r.nan({5, 4}), dw = r.nan({3, 4});
  r.ops->gemm(GemmForm::nn, dy, w, dx, false);
  r.ops->gemm(GemmForm::tn, dy, x, dw, false);
  const auto loss = [&] {
    Tensor y = r.nan({5, 3});
    r.ops->gemm(GemmForm::nt, x, w, y, false);
    return dot(y, dy);
  };
  check_gradient("dx", x, dx, loss);
  check_gradient("dw", w, dw, loss);
}

TEST_CASE("embedding_backward is the gradient of embedding", "[gradients]") {
  Reference r;
  const std::vector<int32_t> ids{2, 0, 2, 4, 2};
  const Tensor table = r.random({6, 3}, 4), d_out = r.random({5, 3}, 5);
  Tensor d_table = r.nan({6, 3});
  r.ops->embedding_backward(ids, d_out, d_table, false);
  check_gradient("d_table", table, d_table, [&] {
    Tensor out = r.nan({5, 3});
    r.ops->embedding(table, ids, out);
    return dot(out, d_out);
  });
}

TEST_CASE("embedding_backward is the gradient of embedding in a shard of the table", "[gradients]") {
  Reference r;
  const std::vector<int32_t> ids{absent_id, 0, 2, absent_id, 2};
  const Tensor table = r.random({3, 3}, 27), d_out = r.random({5, 3}, 28);
  Tensor d_table = r.nan({3, 3});
  r.ops->embedding_backward(ids, d_out, d_table, false);
  check_gradient("d_table", table, d_table, [&] {
    Tensor out = r.nan({5, 3});
    r.ops->embedding(table, ids, out);
    return dot(out, d_out);
  });
}

TEST_CASE("column_sum is the gradient of add_row", "[gradients]") {
  Reference r;
  const Tensor row = r.random({4}, 6), dy = r.random({7, 4}, 7);
  Tensor d_row = r.nan({4});
  r.ops->column_sum(dy, d_row, false);
  check_gradient("d_row", row, d_row, [&] {
    Tensor y = r.zeros({7, 4});
    r.ops->add_row(y, row);
    return dot(y, dy);
  });
}

TEST_CASE("column_dots is the gradient of scale_columns' factors", "[gradients]") {
  Reference r;
  const Tensor x = r.random({7, 4}, 31), factors = r.random({4}, 32), dy = r.random({7, 4}, 33);
  Tensor d_factors = r.nan({4});
  r.ops->column_dots(dy, x, d_factors, false);
  check_gradient("d_factors", factors, d_factors, [&] {
    Tensor y = r.nan({7, 4});
    r.ops->scale_columns(x, factors, y);
    return dot(y, dy);
  });
}

TEST_CASE("the backward of rms_norm is its gradient", "[gradients]") {
  Reference r;
  const double eps = 1e-2, offset = GENERATE(0.0, 1.0);
  const Tensor x = r.random({4, 6}, 8), weight = r.random({6}, 9, 0.5, 1), dy = r.random({4, 6}, 10);
  const auto loss = [&] {
    Tensor y = r.nan({4, 6}), inverse_rms = r.nan({4});
    r.ops->rms_norm(x, weight, offset, eps, y, inverse_rms);
    return dot(y, dy);
  };
  Tensor y = r.nan({4, 6}), inverse_rms = r.nan({4}), dx = r.nan({4, 6}), d_weight = r.nan({6});
  r.ops->rms_norm(x, weight, offset, eps, y, inverse_rms);
  r.ops->rms_norm_backward_input(dy, x, weight, offset, inverse_rms, {}, dx);
  r.ops->rms_norm_backward_weight(dy, x, inverse_rms, d_weight, false);
  check_gradient("dx", x, dx, loss);
  check_gradient("d_weight", weight, d_weight, loss);
}

TEST_CASE("the backward of layer_norm is its gradient", "[gradients]") {
  Reference r;
  const double eps = 1e-2;
  const Tensor x = r.random({4, 6}, 8, 1, 2), weight = r.random({6}, 9, 0.5, 1), bias = r.random({6}, 30),
               dy = r.random({4, 6}, 10);
  const auto loss = [&] {
    Tensor y = r.nan({4, 6}), statistics = r.nan({4, 2});
    r.ops->layer_norm(x, weight, bias, eps, y, statistics);
    return dot(y, dy);
  };
  Tensor y = r.nan({4, 6}), statistics = r.nan({4, 2}), dx = r.nan({4, 6}), d_weight = r.nan({6}),
         d_bias = r.nan({6});
  r.ops->layer_norm(x, weight, bias, eps, y, statistics);
  r.ops->layer_norm_backward_input(dy, x, weight, statistics, {}, dx);
  r.ops->layer_norm_backward_weight(dy, x, statistics, d_weight, false);
  r.ops->column_sum(dy, d_bias, false);
  check_gradient("dx", x, dx, loss);
  check_gradient("d_weight", weight, d_weight, loss);
  check_gradient("d_bias", bias, d_bias, loss);
}

TEST_CASE("rope turned back is its gradient", "[gradients]") {
  const RotaryPairs pairs = GENERATE(RotaryPairs::halves, RotaryPairs::neighbours);
  Reference r;
  const std::vector<int32_t> positions{0, 5, 2};
  Tensor x = r.random({3, 2, 6}, 11), dy = r.random({3, 2, 6}, 12);
  const Tensor cosines = r.random({6, 3}, 13), sines = r.random({6, 3}, 14);
  Tensor dx = r.nan({3, 2, 6});
  r.ops->copy(dy, dx);
  r.ops->rope(dx, cosines, sines, positions, true, pairs);
  check_gradient("dx", x, dx, [&] {
    Tensor y = r.nan({3, 2, 6});
    r.ops->copy(x, y);
    r.ops->rope(y, cosines, sines, positions, false, pairs);
    return dot(y, dy);
  });
}

namespace {

void check_attention(int64_t heads, int64_t kv_heads, int64_t head_dim, const AttentionSpans& spans,
                     const AttentionScores& scores = 0.7) {
  CAPTURE(heads, kv_heads, head_dim);
  Reference r;
  const Shape q_shape{spans.query_starts.back(), heads, head_dim},
      k_shape{spans.key_starts.back(), kv_heads, head_dim};
  const Shape lse_shape{q_shape[0], heads};
  const Tensor q = r.random(q_shape, 15), k = r.random(k_shape, 16), v = r.random(k_shape, 17);
  const Tensor d_out = r.random(q_shape, 18);
  const auto loss = [&] {
    Tensor out = r.nan(q_shape), log_sum_exp = r.nan(lse_shape);
    r.ops->attention(q, k, v, spans, scores, out, log_sum_exp);
    return dot(out, d_out);
  };
  Tensor out = r.nan(q_shape), log_sum_exp = r.nan(lse_shape);
  Tensor dq = r.nan(q_shape), dk = r.nan(k_shape), dv = r.nan(k_shape);
  r.ops->attention(q, k, v, spans, scores, out, log_sum_exp);
  r.ops->attention_backward(q, k, v, spans, scores, out, log_sum_exp, d_out, dq, dk, dv);
  check_gradient("dq", q, dq, loss);
  check_gradient("dk", k, dk, loss);
  check_gradient("dv", v, dv, loss);
}

}  // namespace

TEST_CASE("attention_backward is the gradient of attention", "[gradients]") {
  SECTION("one document") {
    check_attention(2, 2, 3, {{0, 5}, {0, 5}});
  }
  SECTION("packed documents, grouped queries") {
    check_attention(4, 2, 3, {{0, 3, 4, 8}, {0, 3, 4, 8}});
  }
  SECTION("more keys than queries") {
    check_attention(2, 1, 2, {{0, 2, 5}, {0, 6, 9}});
  }
  SECTION("not causal, with more keys than queries and fewer") {
    check_attention(4, 2, 3, {{0, 4, 4, 6}, {0, 2, 2, 7}, false});
  }
  AttentionScores scores(0.7);
  const std::vector<uint64_t> rows{4, 5, 6, 9, 8, 7, 1, 0}, first_keys{2, 0, 11};
  SECTION("a cap") {
    scores.soft_cap = 0.8;
    check_attention(4, 2, 3, {{0, 3, 4, 8}, {0, 3, 4, 8}}, scores);
  }
  SECTION("dropout, and both") {
    scores.dropout = 0.4;
    scores.dropout_key = 5;
    scores.query_rows = rows;
    scores.first_keys = first_keys;
    check_attention(4, 2, 3, {{0, 3, 4, 8}, {0, 3, 4, 8}}, scores);
    scores.soft_cap = 0.8;
    check_attention(4, 2, 3, {{0, 3, 4, 8}, {0, 3, 4, 8}}, scores);
  }
}

TEST_CASE("attention_backward of a part of the keys is the gradient of the whole by that part",
          "[gradients]") {
  Reference r;
  const Shape q_shape{3, 2, 3}, k_shape{7, 1, 3}, lse_shape{3, 2};
  const Tensor q = r.random(q_shape, 23), k = r.random(k_shape, 24), v = r.random(k_shape, 25);
  const Tensor d_out = r.random(q_shape, 26);
  Tensor out = r.nan(q_shape), log_sum_exp = r.nan(lse_shape);
  const auto loss = [&] {
    r.ops->attention(q, k, v, {{0, 3}, {0, 7}, false}, 0.7, out, log_sum_exp);
    return dot(out, d_out);
  };
  loss();
  Tensor dq = r.zeros(q_shape), dk = r.nan(k_shape), dv = r.nan(k_shape);
  for (const auto& [first, last] : {std::pair<int32_t, int32_t>{0, 2}, {2, 7}}) {
    Tensor dq_part = r.nan(q_shape), dk_part = dk.rows(first, last), dv_part = dv.rows(first, last);
    r.ops->attention_backward(q, k.rows(first, last), v.rows(first, last), {{0, 3}, {0, last - first}, false},
                              0.7, out, log_sum_exp, d_out, dq_part, dk_part, dv_part);
    r.ops->add(dq, dq_part, dq);
  }
  check_gradient("dq", q, dq, loss);
  check_gradient("dk", k, dk, loss);
  check_gradient("dv", v, dv, loss);
}

TEST_CASE("gated_backward is the gradient of gated", "[gradients]") {
  for (const Activation activation : all_activations) {
    CAPTURE(static_cast<int>(activation));
    Reference r;
    const Shape shape{4, 5};
    const Tensor gate = r.random(shape, 19, 2), up = r.random(shape, 20), d_out = r.random(shape, 21);
    const auto loss = [&] {
      Tensor out = r.nan(shape);
      r.ops->gated(activation, gate, up, out);
      return dot(out, d_out);
    };
    Tensor d_gate = r.nan(shape), d_up = r.nan(shape);
    r.ops->gated_backward(activation, gate, up, d_out, d_gate, d_up);
    check_gradient("d_gate", gate, d_gate, loss);
    check_gradient("d_up", up, d_up, loss);
  }
}

TEST_CASE("activate_backward is the gradient of activate", "[gradients]") {
  for (const Activation activation : all_activations) {
    CAPTURE(static_cast<int>(activation));
    Reference r;
    const Shape shape{4, 5};
    const Tensor x = r.random(shape, 19, 2), d_out = r.random(shape, 21);
    Tensor dx = r.nan(shape);
    r.ops->activate_backward(activation, x, d_out, dx);
    check_gradient("dx", x, dx, [&] {
      Tensor out = r.nan(shape);
      r.ops->activate(activation, x, out);
      return dot(out, d_out);
    });
  }
}

TEST_CASE("dropout is its own gradient", "[gradients]") {
  Reference r;
  const std::vector<uint64_t> rows{3, 1, uint64_t{1} << 33};
  const Tensor x = r.random({3, 9}, 31), d_out = r.random({3, 9}, 32);
  Tensor dx = r.nan({3, 9});
  r.ops->dropout(d_out, 0.4, 17, rows, 0, dx);
  check_gradient("dx", x, dx, [&] {
    Tensor out = r.nan({3, 9});
    r.ops->dropout(x, 0.4, 17, rows, 0, out);
    return dot(out, d_out);
  });
}

TEST_CASE("cross_entropy leaves its gradient", "[gradients]") {
  Reference r;
  const std::vector<int32_t> labels{3, ignored_label, 0, 6};
  const Tensor logits = r.random({4, 7}, 22, 2);
  const double scale = 0.3;
  const auto run = [&](Tensor& work) {
    r.ops->copy(logits, work);
    return cross_entropy(*r.ops, work, labels, scale);
  };
  Tensor gradient = r.nan({4, 7});
  run(gradient);
  check_gradient("d_logits", logits, gradient, [&] {
    Tensor work = r.nan({4, 7});
    return run(work) * scale;
  });
}

TEST_CASE("cross_entropy_from_statistics leaves every shard's gradient", "[gradients]") {
  Reference r;
  const std::vector<int32_t> labels{3, ignored_label, 0, 6};
  const std::vector<int64_t> starts{0, 3, 4, 7};
  const Tensor logits = r.random({4, 7}, 29, 2);
  const double scale = 0.3;
  const auto run = [&](Tensor& work) {
    r.ops->copy(logits, work);
    Tensor statistics = r.nan({3, 4, 3});
    for (int64_t i = 0; i < 3; ++i) {
      const auto at = static_cast<size_t>(i);
      Tensor of_shard = statistics.rows(i, i + 1).reshape({4, 3});
      r.ops->softmax_statistics(work.columns(starts[at], starts[at + 1]), labels, starts[at], of_shard);
    }
    double loss = 0;
    for (size_t i = 0; i < 3; ++i) {
      Tensor shard = work.columns(starts[i], starts[i + 1]);
      loss = cross_entropy_from_statistics(*r.ops, shard, labels, starts[i], statistics, scale);
    }
    return loss;
  };
  Tensor gradient = r.nan({4, 7});
  run(gradient);
  check_gradient("d_logits", logits, gradient, [&] {
    Tensor work = r.nan({4, 7});
    return run(work) * scale;
  });
}
