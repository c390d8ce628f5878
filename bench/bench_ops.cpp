// Measures every operation at the shapes of one training step of a small Llama (dim 512, 8 layers, 8 heads of
// 64, ffn 1408, vocabulary 8192) on 2048 tokens, 8 documents of 256. It also compares all the products of
// such a step with all the rest. The argument is the number of threads. GFLOP/s and GB/s count what the
// mathematics needs, not what is done.
#include <benchmark/benchmark.h>

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "base/processors.hpp"
#include "base/random.hpp"
#include "kernels/operations.hpp"

namespace collie {
namespace {

constexpr int64_t tokens = 2048, dim = 512, layers = 8, heads = 8, head_dim = 64, ffn = 1408, vocab = 8192;
constexpr int64_t document = 256,
                  parameters = vocab * dim + layers * (4 * dim * dim + 3 * dim * ffn + 2 * dim) + dim;

class Bench {
 public:
  explicit Bench(int threads) : ops(make_cpu_operations(threads, std::make_shared<MemoryAccount>())) {}

  Tensor random(const Shape& shape, double deviation = 1) {
    const RandomStream stream(++seed_);
    Tensor x = ops->empty(shape, Category::activations);
    for (int64_t i = 0; i < x.numel(); ++i)
      x.data<float>()[i] = static_cast<float>(deviation * (2 * stream.uniform(static_cast<uint64_t>(i)) - 1));
    return x;
  }
  static std::vector<int32_t> integers(int64_t bound) {
    const RandomStream stream(1);
    std::vector<int32_t> values(static_cast<size_t>(tokens));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<int32_t>(stream.below(static_cast<uint64_t>(bound), i));
    return values;
  }
  static AttentionSpans spans(int64_t length) {
    AttentionSpans spans;
    for (int64_t start = 0; start <= tokens; start += length)
      spans.query_starts.push_back(static_cast<int32_t>(start));
    spans.key_starts = spans.query_starts;
    return spans;
  }

  std::unique_ptr<Operations> ops;

 private:
  uint64_t seed_ = 0;
};

void report(benchmark::State& state, double flops, double bytes) {
  const auto rate = benchmark::Counter::kIsIterationInvariantRate;
  if (flops > 0) state.counters["GFLOP/s"] = benchmark::Counter(flops / 1e9, rate);
  if (bytes > 0) state.counters["GB/s"] = benchmark::Counter(bytes / 1e9, rate);
}

double floats(int64_t count) {
  return 4.0 * static_cast<double>(count);
}

void all_threads(benchmark::internal::Benchmark* b) {
  b->Unit(benchmark::kMillisecond)->UseRealTime()->MeasureProcessCPUTime()->Arg(1);
  for (int n = 2; n <= usable_processors(); n *= 2) b->Arg(n);
}

// --- products

struct Product {
  GemmForm form;
  int64_t m, n, k, times;
};

// The three products of a linear layer [out, in], which occur `times` times per step.
std::vector<Product> linear(int64_t out, int64_t in, int64_t times) {
  return {{GemmForm::nt, tokens, out, in, times},
          {GemmForm::nn, tokens, in, out, times},
          {GemmForm::tn, out, in, tokens, times}};
}

std::vector<Product> products_of_a_step() {
  std::vector<Product> all;
  for (const auto& [out, in, times] : std::vector<std::array<int64_t, 3>>{{3 * dim, dim, layers},
                                                                          {dim, dim, layers},
                                                                          {2 * ffn, dim, layers},
                                                                          {dim, ffn, layers},
                                                                          {vocab, dim, 1}})
    for (const Product& product : linear(out, in, times)) all.push_back(product);
  return all;
}

double flops_of(const Product& p) {
  return 2.0 * static_cast<double>(p.m * p.n * p.k);
}

struct Operands {
  Operands(Bench& bench, const Product& p)
      : a(bench.random(p.form == GemmForm::tn ? Shape{p.k, p.m} : Shape{p.m, p.k})),
        b(bench.random(p.form == GemmForm::nt ? Shape{p.n, p.k} : Shape{p.k, p.n})),
        c(bench.random({p.m, p.n})) {}
  Tensor a, b, c;
};

void run_gemm(benchmark::State& state, const Product& product) {
  Bench bench(static_cast<int>(state.range(0)));
  Operands x(bench, product);
  for (auto _ : state) bench.ops->gemm(product.form, x.a, x.b, x.c, product.form == GemmForm::tn);
  report(state, flops_of(product), 0);
}

void step_products(benchmark::State& state) {
  Bench bench(static_cast<int>(state.range(0)));
  double flops = 0;
  std::vector<std::pair<Product, Operands>> all;
  for (const Product& product : products_of_a_step()) {
    all.emplace_back(product, Operands(bench, product));
    flops += flops_of(product) * static_cast<double>(product.times);
  }
  for (auto _ : state)
    for (auto& [product, x] : all)
      for (int64_t i = 0; i < product.times; ++i)
        bench.ops->gemm(product.form, x.a, x.b, x.c, product.form == GemmForm::tn);
  report(state, flops, 0);
}

// --- the rest, by operation. Each function returns what a call needs from memory and computes.

struct Cost {
  double flops = 0, bytes = 0;
};

// Every sum has equally many values, one node after another.
TreeRuns equal_runs(int64_t values, int64_t sums) {
  TreeRuns runs{{0}, {}, {}, std::vector<int32_t>(static_cast<size_t>(sums))};
  for (int64_t i = 0; i < sums; ++i) {
    const int64_t first = values * i / sums, end = values * (i + 1) / sums;
    runs.firsts.push_back(static_cast<int32_t>(first));
    runs.counts.push_back(static_cast<int32_t>(end - first));
    runs.starts.push_back(static_cast<int32_t>(i) + 1);
  }
  return runs;
}

struct Rest {
  explicit Rest(Bench& b)
      : ops(*b.ops),
        x(b.random({tokens, dim})),
        y(b.random({tokens, dim})),
        z(b.random({tokens, dim})),
        weight(b.random({dim})),
        d_weight(b.random({dim})),
        inverse_rms(b.random({tokens})),
        table(b.random({vocab, dim})),
        qkv(b.random({tokens, 3 * dim})),
        d_qkv(b.random({tokens, 3 * dim})),
        log_sum_exp(b.random({tokens, heads})),
        part_log_sum_exp(b.random({tokens, heads})),
        angles(b.random({tokens, head_dim / 2})),
        gate_up(b.random({tokens, 2 * ffn})),
        d_gate_up(b.random({tokens, 2 * ffn})),
        hidden(b.random({tokens, ffn})),
        logits(b.random({tokens, vocab})),
        statistics(ops.empty({1, tokens, 3}, DType::f64, Category::activations)),
        loss_sum(ops.empty({1}, DType::f64, Category::activations)),
        sums(ops.empty({(parameters + reduction_block - 1) / reduction_block}, DType::f64,
                       Category::activations)),
        norms(ops.empty({layers}, DType::f64, Category::activations)),
        runs(equal_runs(sums.numel(), layers)),
        labels(Bench::integers(vocab)),
        positions(Bench::integers(document)) {
    for (Tensor& state : optimizer) state = b.random({parameters}, 0.01);
    ops.fill(optimizer[3], 1e-4);
    for (Tensor* doubles : {&loss_sum, &sums, &norms}) ops.fill(*doubles, 0);
  }

  Tensor part(const Tensor& packed, int64_t index, int64_t of) const {
    const int64_t width = packed.dim(1) / of;
    return packed.columns(index * width, (index + 1) * width);
  }
  Tensor head(const Tensor& packed, int64_t index) const {
    return part(packed, index, 3).reshape({tokens, heads, head_dim});
  }

  Cost embedding() {
    ops.embedding(table, labels, x);
    return {0, floats(2 * tokens * dim)};
  }
  Cost embedding_backward() {
    ops.embedding_backward(labels, x, table, true);
    return {0, floats(3 * tokens * dim)};
  }
  Cost rms_norm() {
    ops.rms_norm(x, weight, 0, 1e-5, y, inverse_rms);
    return {0, floats(2 * tokens * dim)};
  }
  Cost rms_norm_backward_input() {
    ops.rms_norm_backward_input(y, x, weight, 0, inverse_rms, z, z);
    return {0, floats(4 * tokens * dim)};
  }
  Cost rms_norm_backward_weight() {
    ops.rms_norm_backward_weight(y, x, inverse_rms, d_weight, true);
    return {0, floats(2 * tokens * dim)};
  }
  Cost rope() {
    Tensor q = head(qkv, 0);
    ops.rope(q, angles, angles, positions, false);
    return {0, floats(2 * tokens * dim)};
  }
  Cost add() {
    ops.add(x, y, z);
    return {0, floats(3 * tokens * dim)};
  }
  Cost column_sum() {
    ops.column_sum(x, d_weight, true);
    return {0, floats(tokens * dim)};
  }
  Cost attention(int64_t length = document) {
    Tensor out = y.reshape({tokens, heads, head_dim});
    ops.attention(head(qkv, 0), head(qkv, 1), head(qkv, 2), Bench::spans(length), 0.125, out, log_sum_exp);
    return {4.0 * tokens * (static_cast<double>(length) + 1) / 2 * dim, floats(4 * tokens * dim)};
  }
  Cost attention_backward(int64_t length = document) {
    Tensor dq = head(d_qkv, 0), dk = head(d_qkv, 1), dv = head(d_qkv, 2);
    const Tensor out = y.reshape({tokens, heads, head_dim}), d_out = z.reshape({tokens, heads, head_dim});
    ops.attention_backward(head(qkv, 0), head(qkv, 1), head(qkv, 2), Bench::spans(length), 0.125, out,
                           log_sum_exp, d_out, dq, dk, dv);
    return {10.0 * tokens * (static_cast<double>(length) + 1) / 2 * dim, floats(8 * tokens * dim)};
  }
  Cost merge_attention() {
    Tensor out = y.reshape({tokens, heads, head_dim});
    ops.merge_attention(out, log_sum_exp, z.reshape({tokens, heads, head_dim}), part_log_sum_exp);
    return {0, floats(3 * tokens * dim)};
  }
  Cost swiglu() {
    ops.gated(Activation::silu, part(gate_up, 0, 2), part(gate_up, 1, 2), hidden);
    return {0, floats(3 * tokens * ffn)};
  }
  Cost swiglu_backward() {
    Tensor d_gate = part(d_gate_up, 0, 2), d_up = part(d_gate_up, 1, 2);
    ops.gated_backward(Activation::silu, part(gate_up, 0, 2), part(gate_up, 1, 2), hidden, d_gate, d_up);
    return {0, floats(5 * tokens * ffn)};
  }
  Cost cross_entropy() {
    ops.cross_entropy(logits, labels, 1e-3, loss_sum);
    return {0, floats(2 * tokens * vocab)};
  }
  // Treats the whole vocabulary as one shard.
  Cost softmax_statistics() {
    Tensor of_shard = statistics.reshape({tokens, 3});
    ops.softmax_statistics(logits, labels, 0, of_shard);
    return {0, floats(tokens * vocab)};
  }
  Cost cross_entropy_from_statistics() {
    ops.cross_entropy_from_statistics(logits, labels, 0, statistics, 1e-3, loss_sum);
    return {0, floats(2 * tokens * vocab)};
  }
  Cost block_sums_of_squares() {
    ops.block_sums_of_squares(optimizer[1], sums);
    return {0, floats(parameters)};
  }
  Cost tree_sums() {
    ops.tree_sums(sums, runs, norms);
    return {0, 2 * floats(sums.numel())};
  }
  Cost adamw() {
    const ElementwiseRule& rule = elementwise_rule("adamw");
    const ElementwiseUpdateRule adamw = rule.with(with_defaults(rule.options, {}));
    UpdateTensors range{optimizer[0], optimizer[1], {optimizer[2], optimizer[3]}, {}};
    ops.update({&range, 1}, {adamw.formula, adamw.factors(1e-4, 10), {}, {}});
    return {0, floats(7 * parameters)};
  }

  // Everything in a step except the products.
  Cost step() {
    embedding();
    for (int64_t layer = 0; layer < layers; ++layer) {
      for (int i = 0; i < 2; ++i) {
        rms_norm();
        add();
        rms_norm_backward_input();
        rms_norm_backward_weight();
      }
      for (int i = 0; i < 4; ++i) rope();  // q and k, forward and backward
      attention();
      attention_backward();
      swiglu();
      swiglu_backward();
    }
    rms_norm();
    rms_norm_backward_input();
    rms_norm_backward_weight();
    cross_entropy();
    embedding_backward();
    block_sums_of_squares();
    tree_sums();
    adamw();
    return {};
  }

  Operations& ops;
  Tensor x, y, z, weight, d_weight, inverse_rms, table, qkv, d_qkv, log_sum_exp, part_log_sum_exp, angles,
      gate_up, d_gate_up, hidden, logits, statistics, loss_sum, sums, norms;
  TreeRuns runs;
  std::vector<int32_t> labels, positions;
  std::array<Tensor, 4> optimizer;
};

template <class Call>
void run_rest(benchmark::State& state, Call call) {
  Bench bench(static_cast<int>(state.range(0)));
  Rest rest(bench);
  rest.attention();           // makes a log_sum_exp that fits
  rest.softmax_statistics();  // and statistics
  Cost cost;
  for (auto _ : state) cost = call(rest);
  report(state, cost.flops, cost.bytes);
}

const char* name_of(GemmForm form) {
  return form == GemmForm::nn ? "nn" : form == GemmForm::nt ? "nt" : "tn";
}

void register_all() {
  for (const Product& p : products_of_a_step()) {
    const std::string name = "gemm_" + std::string(name_of(p.form)) + "_" + std::to_string(p.m) + "x" +
                             std::to_string(p.n) + "x" + std::to_string(p.k);
    all_threads(
        benchmark::RegisterBenchmark(name.c_str(), [p](benchmark::State& state) { run_gemm(state, p); }));
  }
  const auto rest = [](const char* name, auto call) {
    all_threads(
        benchmark::RegisterBenchmark(name, [call](benchmark::State& state) { run_rest(state, call); }));
  };
  rest("embedding", [](Rest& r) { return r.embedding(); });
  rest("embedding_backward", [](Rest& r) { return r.embedding_backward(); });
  rest("rms_norm", [](Rest& r) { return r.rms_norm(); });
  rest("rms_norm_backward_input", [](Rest& r) { return r.rms_norm_backward_input(); });
  rest("rms_norm_backward_weight", [](Rest& r) { return r.rms_norm_backward_weight(); });
  rest("rope", [](Rest& r) { return r.rope(); });
  rest("add", [](Rest& r) { return r.add(); });
  rest("column_sum", [](Rest& r) { return r.column_sum(); });
  rest("attention", [](Rest& r) { return r.attention(); });
  rest("attention_backward", [](Rest& r) { return r.attention_backward(); });
  rest("attention_one_document", [](Rest& r) { return r.attention(tokens); });
  rest("attention_backward_one_document", [](Rest& r) { return r.attention_backward(tokens); });
  rest("merge_attention", [](Rest& r) { return r.merge_attention(); });
  rest("swiglu", [](Rest& r) { return r.swiglu(); });
  rest("swiglu_backward", [](Rest& r) { return r.swiglu_backward(); });
  rest("cross_entropy", [](Rest& r) { return r.cross_entropy(); });
  rest("softmax_statistics", [](Rest& r) { return r.softmax_statistics(); });
  rest("cross_entropy_from_statistics", [](Rest& r) { return r.cross_entropy_from_statistics(); });
  rest("sum_of_squares", [](Rest& r) { return r.block_sums_of_squares(); });
  rest("tree_sums", [](Rest& r) { return r.tree_sums(); });
  rest("adamw", [](Rest& r) { return r.adamw(); });
  all_threads(benchmark::RegisterBenchmark("step_products", step_products));
  rest("step_rest", [](Rest& r) { return r.step(); });
}

// Runs before BENCHMARK_MAIN's main.
[[maybe_unused]] const bool registered = [] {
  register_all();
  return true;
}();

}  // namespace
}  // namespace collie

BENCHMARK_MAIN();
