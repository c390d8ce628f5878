// The operations of a training step, one function per kind. A new operation of the table needs one more
// `add`.
#include <fmt/format.h>

#include <array>
#include <numeric>
#include <span>

#include "base/divide.hpp"
#include "base/random.hpp"
#include "bench/operation_rates.hpp"

namespace collie::bench {

namespace {

// Uniform in (-1, 1). Matrices of zeros take less power, and so less time, than real ones.
Tensor random(Operations& operations, const Shape& shape, DType dtype) {
  constexpr int64_t distinct = 1 << 16;
  static const std::vector<float> values = [] {
    const RandomStream stream(1);
    std::vector<float> made(distinct);
    for (size_t i = 0; i < made.size(); ++i) made[i] = static_cast<float>(2 * stream.uniform(i) - 1);
    return made;
  }();
  Tensor x = operations.empty(shape, dtype, Category::workspace);
  Tensor flat = x.reshape({x.numel()});
  for (int64_t begin = 0; begin < x.numel(); begin += distinct) {
    const int64_t end = std::min(begin + distinct, x.numel());
    Tensor part = flat.rows(begin, end);
    operations.upload(std::span(values).first(static_cast<size_t>(end - begin)), part);
  }
  return x;
}

Tensor random(Operations& operations, const Shape& shape) {
  return random(operations, shape, operations.dtype());
}

Tensor doubles(Operations& operations, int64_t count) {
  Tensor x = operations.empty({count}, DType::f64, Category::workspace);
  operations.fill(x, 0);
  return x;
}

std::vector<int32_t> random_integers(int64_t count, int64_t bound) {
  const RandomStream stream(2);
  std::vector<int32_t> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<int32_t>(stream.below(static_cast<uint64_t>(bound), i));
  return values;
}

class Cases {
 public:
  Cases(const ModelConfig& model, const Operations& table, int64_t tokens, int64_t document)
      : model_(model),
        dtype_(table.dtype()),
        size_(static_cast<double>(size_of(dtype_))),
        tokens_(tokens),
        document_(document),
        chunk_(std::min(tokens, table.head_chunk(model.vocab_size))) {}

  std::vector<OperationCase> all() {
    products();
    elementwise();
    norms();
    layer_norms();
    positions_and_attention();
    embeddings();
    losses();
    optimizer();
    return std::move(cases_);
  }

 private:
  using Make = std::function<std::function<void()>(Operations&)>;

  // `elements` of dtype() are read and written; `others` are further bytes.
  void add(const std::string& name, const Shape& shape, int64_t elements, Make make, double others = 0) {
    cases_.push_back({name,
                      shape.to_string(),
                      {size_ * static_cast<double>(elements) + others, 0},
                      false,
                      std::move(make)});
  }

  void products() {
    const int64_t hidden = model_.hidden_size, width = model_.num_attention_heads * model_.head_dim,
                  keys = model_.num_key_value_heads * model_.head_dim;
    struct Matrix {
      const char* name;
      int64_t out, in, rows;
    };
    for (const Matrix& matrix : {Matrix{"q", width, hidden, tokens_}, Matrix{"k", keys, hidden, tokens_},
                                 Matrix{"gate", model_.intermediate_size, hidden, tokens_},
                                 Matrix{"down", hidden, model_.intermediate_size, tokens_},
                                 Matrix{"head", model_.vocab_size, hidden, chunk_}}) {
      const auto add_product = [&](const char* what, GemmForm form, int64_t m, int64_t n, int64_t k) {
        cases_.push_back(product_case(form, m, n, k, dtype_, fmt::format("gemm {} {}", matrix.name, what)));
      };
      add_product("forward", GemmForm::nt, matrix.rows, matrix.out, matrix.in);
      add_product("backward input", GemmForm::nn, matrix.rows, matrix.in, matrix.out);
      add_product("backward weight", GemmForm::tn, matrix.out, matrix.in, matrix.rows);
    }
    OperationCase biased =
        product_case(GemmForm::nt, tokens_, width, hidden, dtype_, "gemm_add_row q forward");
    biased.make = [=, tokens = tokens_](Operations& operations) {
      Tensor x = random(operations, {tokens, hidden}), weight = random(operations, {width, hidden}),
             bias = random(operations, {width}), y = operations.empty({tokens, width}, Category::workspace);
      return [=, &operations]() mutable { operations.gemm_add_row(GemmForm::nt, x, weight, bias, y); };
    };
    cases_.push_back(std::move(biased));
  }

  void elementwise() {
    const Shape residual{tokens_, model_.hidden_size}, inner{tokens_, model_.intermediate_size};
    add("add", residual, 3 * residual.numel(), [=](Operations& operations) {
      Tensor a = random(operations, residual), b = random(operations, residual),
             out = operations.empty(residual, Category::workspace);
      return [=, &operations]() mutable { operations.add(a, b, out); };
    });
    add("fill", residual, residual.numel(), [=](Operations& operations) {
      Tensor x = operations.empty(residual, Category::workspace);
      return [=, &operations]() mutable { operations.fill(x, 0); };
    });
    add("add_row", residual, 2 * residual.numel(), [=](Operations& operations) {
      Tensor x = random(operations, residual), row = random(operations, {residual[1]});
      return [=, &operations]() mutable { operations.add_row(x, row); };
    });
    add("column_sum", residual, residual.numel(), [=](Operations& operations) {
      Tensor x = random(operations, residual),
             out = random(operations, {residual[1]}, operations.accumulation_dtype());
      return [=, &operations]() mutable { operations.column_sum(x, out, true); };
    });
    activations(inner);
    std::vector<uint64_t> rows(static_cast<size_t>(tokens_));
    std::iota(rows.begin(), rows.end(), uint64_t{1} << 33);
    add("dropout", residual, 2 * residual.numel(), [=](Operations& operations) {
      Tensor x = random(operations, residual), out = operations.empty(residual, Category::workspace);
      return [=, &operations]() mutable { operations.dropout(x, 0.1, 7, rows, 0, out); };
    });
  }

  void activations(const Shape& inner) {
    const std::pair<const char*, Activation> all[] = {
        {"silu", Activation::silu}, {"gelu", Activation::gelu}, {"gelu_tanh", Activation::gelu_tanh}};
    for (const auto& [name, activation] : all) {
      const auto named = [name = name](const char* operation) {
        return fmt::format("{} {}", operation, name);
      };
      add(named("gated"), inner, 3 * inner.numel(), [=, activation = activation](Operations& operations) {
        Tensor gate = random(operations, inner), up = random(operations, inner),
               out = operations.empty(inner, Category::workspace);
        return [=, &operations]() mutable { operations.gated(activation, gate, up, out); };
      });
      add(named("gated_backward"), inner, 5 * inner.numel(),
          [=, activation = activation](Operations& operations) {
            Tensor gate = random(operations, inner), up = random(operations, inner),
                   d_out = random(operations, inner), d_gate = operations.empty(inner, Category::workspace),
                   d_up = operations.empty(inner, Category::workspace);
            return [=, &operations]() mutable {
              operations.gated_backward(activation, gate, up, d_out, d_gate, d_up);
            };
          });
      add(named("activate"), inner, 2 * inner.numel(), [=, activation = activation](Operations& operations) {
        Tensor x = random(operations, inner), out = operations.empty(inner, Category::workspace);
        return [=, &operations]() mutable { operations.activate(activation, x, out); };
      });
      add(named("activate_backward"), inner, 3 * inner.numel(),
          [=, activation = activation](Operations& operations) {
            Tensor x = random(operations, inner), d_out = random(operations, inner),
                   dx = operations.empty(inner, Category::workspace);
            return [=, &operations]() mutable { operations.activate_backward(activation, x, d_out, dx); };
          });
    }
  }

  void norms() {
    const Shape shape{tokens_, model_.hidden_size};
    const auto statistics = 4.0 * static_cast<double>(tokens_);
    add(
        "rms_norm", shape, 2 * shape.numel(),
        [=](Operations& operations) {
          Tensor x = random(operations, shape), weight = random(operations, {shape[1]}),
                 y = operations.empty(shape, Category::workspace),
                 inverse = operations.empty({shape[0]}, operations.accumulation_dtype(), Category::workspace);
          return [=, &operations]() mutable { operations.rms_norm(x, weight, 0, 1e-6, y, inverse); };
        },
        statistics);
    add(
        "add_rms_norm", shape, 4 * shape.numel(),
        [=](Operations& operations) {
          Tensor x = random(operations, shape), residual = random(operations, shape),
                 weight = random(operations, {shape[1]}), sum = operations.empty(shape, Category::workspace),
                 y = operations.empty(shape, Category::workspace),
                 inverse = operations.empty({shape[0]}, operations.accumulation_dtype(), Category::workspace);
          return [=, &operations]() mutable {
            operations.add_rms_norm(x, residual, weight, 0, 1e-6, sum, y, inverse);
          };
        },
        statistics);
    // Includes the gradient that comes along the residual.
    const auto backward = [=](Operations& operations, bool input) -> std::function<void()> {
      Tensor dy = random(operations, shape), x = random(operations, shape),
             weight = random(operations, {shape[1]}),
             inverse = random(operations, {shape[0]}, operations.accumulation_dtype());
      Tensor out =
          input ? random(operations, shape) : random(operations, {shape[1]}, operations.accumulation_dtype());
      if (input)
        return [=, &operations]() mutable {
          operations.rms_norm_backward_input(dy, x, weight, 0, inverse, out, out);
        };
      return [=, &operations]() mutable { operations.rms_norm_backward_weight(dy, x, inverse, out, true); };
    };
    add(
        "rms_norm_backward_input", shape, 4 * shape.numel(),
        [=](Operations& operations) { return backward(operations, true); }, statistics);
    add(
        "rms_norm_backward_weight", shape, 2 * shape.numel(),
        [=](Operations& operations) { return backward(operations, false); }, statistics);
  }

  // As norms(), for LayerNorm.
  void layer_norms() {
    const Shape shape{tokens_, model_.hidden_size};
    const double bytes = 8.0 * static_cast<double>(tokens_);
    const auto statistics = [=](Operations& operations) {
      return random(operations, {shape[0], 2}, operations.accumulation_dtype());
    };
    add(
        "layer_norm", shape, 2 * shape.numel(),
        [=](Operations& operations) {
          Tensor x = random(operations, shape), weight = random(operations, {shape[1]}),
                 y = operations.empty(shape, Category::workspace), of_rows = statistics(operations);
          return [=, &operations]() mutable { operations.layer_norm(x, weight, weight, 1e-6, y, of_rows); };
        },
        bytes);
    add(
        "add_layer_norm", shape, 4 * shape.numel(),
        [=](Operations& operations) {
          Tensor x = random(operations, shape), residual = random(operations, shape),
                 weight = random(operations, {shape[1]}), sum = operations.empty(shape, Category::workspace),
                 y = operations.empty(shape, Category::workspace), of_rows = statistics(operations);
          return [=, &operations]() mutable {
            operations.add_layer_norm(x, residual, weight, weight, 1e-6, sum, y, of_rows);
          };
        },
        bytes);
    add(
        "layer_norm_backward_input", shape, 4 * shape.numel(),
        [=](Operations& operations) {
          Tensor dy = random(operations, shape), x = random(operations, shape),
                 weight = random(operations, {shape[1]}), of_rows = statistics(operations),
                 out = random(operations, shape);
          return [=, &operations]() mutable {
            operations.layer_norm_backward_input(dy, x, weight, of_rows, out, out);
          };
        },
        bytes);
    add(
        "layer_norm_backward_weight", shape, 2 * shape.numel(),
        [=](Operations& operations) {
          Tensor dy = random(operations, shape), x = random(operations, shape),
                 of_rows = statistics(operations),
                 out = random(operations, {shape[1]}, operations.accumulation_dtype());
          return [=, &operations]() mutable {
            operations.layer_norm_backward_weight(dy, x, of_rows, out, true);
          };
        },
        bytes);
  }

  AttentionSpans spans() const {
    AttentionSpans spans;
    for (int64_t start = 0; start < tokens_; start += document_)
      spans.query_starts.push_back(static_cast<int32_t>(start));
    spans.query_starts.push_back(static_cast<int32_t>(tokens_));
    spans.key_starts = spans.query_starts;
    return spans;
  }

  double visible_keys() const {
    double keys = 0;
    const AttentionSpans all = spans();
    for (size_t i = 0; i + 1 < all.query_starts.size(); ++i) {
      const double length = all.query_starts[i + 1] - all.query_starts[i];
      keys += length * (length + 1) / 2;
    }
    return keys;
  }

  void positions_and_attention() {
    const Shape q{tokens_, model_.num_attention_heads, model_.head_dim},
        kv{tokens_, model_.num_key_value_heads, model_.head_dim}, statistics{q[0], q[1]},
        tables{document_, model_.head_dim / 2};
    std::vector<int32_t> positions;
    for (int64_t token = 0; token < tokens_; ++token)
      positions.push_back(static_cast<int32_t>(token % document_));
    add("rope", q, 2 * q.numel(), [=](Operations& operations) {
      Tensor x = random(operations, q), cosines = random(operations, tables, operations.accumulation_dtype()),
             sines = random(operations, tables, operations.accumulation_dtype());
      return [=, &operations]() mutable { operations.rope(x, cosines, sines, positions, false); };
    });
    const AttentionSpans documents = spans();
    const double scale = 1.0 / static_cast<double>(model_.head_dim),
                 bytes = size_ * 4 * static_cast<double>(q.numel());
    // The forward computes the scores and the sums of values. The backward computes these again, and three
    // gradients, and the scores once more.
    const double forward = 4 * visible_keys() * static_cast<double>(q[1] * q[2]);
    cases_.push_back(
        {"attention", q.to_string(), {bytes, forward}, true, [=](Operations& operations) {
           Tensor queries = random(operations, q), keys = random(operations, kv),
                  values = random(operations, kv), out = operations.empty(q, Category::workspace),
                  sums = operations.empty(statistics, operations.accumulation_dtype(), Category::workspace);
           return [=, &operations]() mutable {
             operations.attention(queries, keys, values, documents, scale, out, sums);
           };
         }});
    cases_.push_back(
        {"attention_backward", q.to_string(), {2 * bytes, 2.5 * forward}, true, [=](Operations& operations) {
           Tensor queries = random(operations, q), keys = random(operations, kv),
                  values = random(operations, kv), d_out = random(operations, q),
                  out = operations.empty(q, Category::workspace),
                  sums = operations.empty(statistics, operations.accumulation_dtype(), Category::workspace),
                  dq = operations.empty(q, Category::workspace),
                  dk = operations.empty(kv, Category::workspace),
                  dv = operations.empty(kv, Category::workspace);
           operations.attention(queries, keys, values, documents, scale, out, sums);
           return [=, &operations]() mutable {
             operations.attention_backward(queries, keys, values, documents, scale, out, sums, d_out, dq, dk,
                                           dv);
           };
         }});
  }

  void embeddings() {
    const Shape table{model_.vocab_size, model_.hidden_size}, rows{tokens_, model_.hidden_size};
    const std::vector<int32_t> ids = random_integers(tokens_, model_.vocab_size);
    add("embedding", rows, 2 * rows.numel(), [=](Operations& operations) {
      Tensor weights = random(operations, table), out = operations.empty(rows, Category::workspace);
      return [=, &operations]() mutable { operations.embedding(weights, ids, out); };
    });
    add("embedding_backward", rows, 3 * rows.numel(), [=](Operations& operations) {
      Tensor d_out = random(operations, rows), d_table = operations.empty(table, Category::workspace);
      operations.fill(d_table, 0);
      return [=, &operations]() mutable { operations.embedding_backward(ids, d_out, d_table, true); };
    });
  }

  void losses() {
    const Shape logits{chunk_, model_.vocab_size};
    const std::vector<int32_t> labels = random_integers(logits[0], logits[1]);
    add("cross_entropy", logits, 2 * logits.numel(), [=](Operations& operations) {
      Tensor scores = random(operations, logits), loss_sum = doubles(operations, 1);
      return [=, &operations]() mutable { operations.cross_entropy(scores, labels, 1e-3, loss_sum); };
    });
  }

  static int64_t blocks_of(int64_t elements) { return divide_up(elements, reduction_block); }

  // The blocks of each parameter, for its sum of squares: they are added as a binary tree.
  TreeRuns sums_of_parameters() const {
    const int64_t hidden = model_.hidden_size, queries = model_.num_attention_heads * model_.head_dim,
                  keys = model_.num_key_value_heads * model_.head_dim,
                  inner = model_.intermediate_size * hidden;
    TreeRuns runs{{0}, {}, {}, {}};
    int64_t blocks = 0;
    const auto parameter = [&](int64_t elements) {
      runs.firsts.push_back(static_cast<int32_t>(blocks));
      runs.counts.push_back(static_cast<int32_t>(blocks_of(elements)));
      runs.heights.push_back(0);
      runs.starts.push_back(static_cast<int32_t>(runs.firsts.size()));
      blocks += blocks_of(elements);
    };
    parameter(model_.vocab_size * hidden);
    for (int64_t layer = 0; layer < model_.num_hidden_layers; ++layer)
      for (const int64_t elements : {hidden, queries * hidden, keys * hidden, keys * hidden, queries, keys,
                                     keys, hidden * queries, hidden, inner, inner, inner})
        parameter(elements);
    parameter(hidden);
    return runs;
  }

  void optimizer() {
    const Shape flat{std::min<int64_t>(model_.intermediate_size * model_.hidden_size, int64_t{1} << 27)};
    const auto count = static_cast<double>(flat.numel());
    const double wide = 4 * count;
    add(
        "sum_of_squares", flat, 0,
        [=](Operations& operations) {
          Tensor x = random(operations, flat, operations.accumulation_dtype()),
                 sums = doubles(operations, blocks_of(flat.numel()));
          return [=, &operations]() mutable { operations.block_sums_of_squares(x, sums); };
        },
        wide);
    const TreeRuns runs = sums_of_parameters();
    const int64_t blocks = runs.firsts.back() + runs.counts.back(),
                  parameters = static_cast<int64_t>(runs.firsts.size());
    add(
        "tree_sums", {parameters}, 0,
        [=](Operations& operations) {
          Tensor values = doubles(operations, blocks), sums = doubles(operations, parameters);
          return [=, &operations]() mutable { operations.tree_sums(values, runs, sums); };
        },
        8 * static_cast<double>(blocks));
    // The master weight and both moments are read and written and the gradient is read, all in the
    // accumulation dtype. The weight in dtype() is written if that is a different dtype.
    const bool narrow = dtype_ == DType::bf16;
    add(
        "adamw", flat, narrow ? flat.numel() : 0,
        [=](Operations& operations) {
          const auto made = [&] { return random(operations, flat, operations.accumulation_dtype()); };
          UpdateTensors range{made(), made(), {made(), made()}, {}, 0};
          operations.fill(range.states[1], 1);
          if (narrow) range.rounded = operations.empty(flat, Category::workspace);
          const ElementwiseRule& rule = elementwise_rule("adamw");
          const ElementwiseUpdateRule adamw = rule.with(with_defaults(rule.options, {}));
          const ElementwiseUpdate step{adamw.formula, adamw.factors(1e-4, 1), {}, {}};
          return [=, &operations]() mutable { operations.update({&range, 1}, step); };
        },
        7 * wide);
  }

  const ModelConfig& model_;
  DType dtype_;
  double size_;  // bytes per element
  int64_t tokens_, document_;
  int64_t chunk_;  // tokens that a head takes at a time
  std::vector<OperationCase> cases_;
};

}  // namespace

OperationCase product_case(GemmForm form, int64_t m, int64_t n, int64_t k, DType dtype,
                           const std::string& name) {
  const auto elements = static_cast<double>(m * k + k * n + m * n);
  return {name,
          fmt::format("[{}, {}] over {}", m, n, k),
          {static_cast<double>(size_of(dtype)) * elements,
           2.0 * static_cast<double>(m) * static_cast<double>(n * k)},
          true,
          [=](Operations& operations) {
            Tensor a = random(operations, form == GemmForm::tn ? Shape{k, m} : Shape{m, k}),
                   b = random(operations, form == GemmForm::nt ? Shape{n, k} : Shape{k, n});
            const bool gradient = form == GemmForm::tn;
            Tensor c =
                random(operations, {m, n}, gradient ? operations.accumulation_dtype() : operations.dtype());
            return [=, &operations]() mutable { operations.gemm(form, a, b, c, gradient); };
          }};
}

std::vector<OperationCase> operation_cases(const ModelConfig& model, const Operations& table, int64_t tokens,
                                           int64_t document) {
  return Cases(model, table, tokens, document).all();
}

}  // namespace collie::bench
