// What the graphs say, computed step by step, is the attention that the reference computes.
#include <fmt/format.h>

#include "kernels/cuda/cudnn/attention.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "tests/catch.hpp"
#include "tests/cudnn/interpreter.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Case {
  int64_t heads, kv_heads;
  AttentionSpans spans;
  bool any_order = false;

  static constexpr int64_t head_dim = 8;
  int64_t queries() const { return spans.query_starts.back(); }
  int64_t keys() const { return spans.key_starts.back(); }
  Shape q_shape() const { return {queries(), heads, head_dim}; }
  Shape k_shape() const { return {keys(), kv_heads, head_dim}; }
  cuda::Documents documents() const { return cuda::documents_of(spans); }
};

constexpr double score_scale = 0.35;

Values rounded(Values values) {
  for (float& value : values.data) value = host::from_bf16(host::to_bf16(value));
  return values;
}

struct Inputs {
  explicit Inputs(const Case& c)
      : q(rounded(random_values(c.q_shape(), 1, 2))),
        k(rounded(random_values(c.k_shape(), 2, 2))),
        v(rounded(random_values(c.k_shape(), 3))),
        d_out(rounded(random_values(c.q_shape(), 4))) {}
  Values q, k, v, d_out;
};

struct Found {
  Values out, log_sum_exp;
  Outputs gradients;
};

Found of_reference(const Case& c, const Inputs& inputs) {
  const auto operations = make_reference_operations(std::make_shared<MemoryAccount>());
  Bench bench(*operations, false);
  const Tensor q = bench.input(inputs.q), k = bench.input(inputs.k), v = bench.input(inputs.v);
  Tensor out = bench.output(c.q_shape()), sums = bench.statistics(Shape{c.queries(), c.heads}),
         dq = bench.output(c.q_shape()), dk = bench.output(c.k_shape()), dv = bench.output(c.k_shape());
  operations->attention(q, k, v, c.spans, score_scale, out, sums);
  const Values held = rounded({c.q_shape(), bench.read(out)});
  operations->attention_backward(q, k, v, c.spans, score_scale, bench.input(held), sums,
                                 bench.input(inputs.d_out), dq, dk, dv);
  return {held,
          {Shape{c.queries(), c.heads}, bench.read(sums)},
          {bench.read(dq), bench.read(dk), bench.read(dv)}};
}

// On the emulated device, whose memory the host reads.
class Device {
 public:
  cuda::Matrix matrix(const Shape& shape, int64_t padding) {
    const int64_t width = shape[1] * shape[2];
    tensors_.push_back(
        Tensor::on(memory, {shape[0], width + padding}, DType::bf16, account, Category::workspace));
    stream->synchronize();
    return {tensors_.back().raw(), cuda::Element::bf16, shape[0], width, width + padding};
  }
  cuda::Matrix matrix(const Values& values, int64_t padding) {
    const cuda::Matrix x = matrix(values.shape, padding);
    for (size_t i = 0; i < values.data.size(); ++i) *element(x, i) = host::to_bf16(values.data[i]);
    return x;
  }
  float* floats(int64_t count) {
    tensors_.push_back(Tensor::on(memory, {count}, DType::f32, account, Category::workspace));
    stream->synchronize();
    return tensors_.back().data<float>();
  }
  std::vector<float> read(const cuda::Matrix& x) {
    stream->synchronize();
    std::vector<float> values(static_cast<size_t>(x.rows * x.width));
    for (size_t i = 0; i < values.size(); ++i) values[i] = host::from_bf16(*element(x, i));
    return values;
  }

  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();
  std::shared_ptr<cuda::Stream> stream = std::make_shared<cuda::Stream>(0);
  std::shared_ptr<MemorySource> memory = cuda::device_memory(stream);
  cuda::IndexCache indices{stream, memory, account};

 private:
  static uint16_t* element(const cuda::Matrix& x, size_t i) {
    const auto row = static_cast<int64_t>(i) / x.width, column = static_cast<int64_t>(i) % x.width;
    return static_cast<uint16_t*>(x.data) + row * x.stride + column;
  }
  std::vector<Tensor> tensors_;
};

Found of_graphs(const Case& c, const Inputs& inputs, const Found& expected) {
  stand_in::asked() = {};
  Device device;
  stand_in::asked().when_run = [&](const stand_in::Description& graph) {
    device.stream->synchronize();
    interpret(graph, stand_in::asked().given, c.heads / c.kv_heads);
  };
  const auto library =
      cuda::make_cudnn_attention({stand_in::table(), device.stream, device.memory, device.account,
                                  device.indices, 90, c.any_order, [](const std::string&) {}});
  constexpr int64_t padding = 16;
  float* const sums = device.floats(c.queries() * c.heads);
  cuda::AttentionViews views{device.matrix(inputs.q, padding),
                             device.matrix(inputs.k, padding),
                             device.matrix(inputs.v, padding + 8),
                             device.matrix(c.q_shape(), 0),
                             sums,
                             c.heads,
                             c.kv_heads,
                             Case::head_dim,
                             static_cast<float>(score_scale)};
  REQUIRE(library->forward(views, c.documents()));
  Found found{{c.q_shape(), device.read(views.out)},
              {Shape{c.queries(), c.heads}, {sums, sums + c.queries() * c.heads}},
              {}};
  views.out = device.matrix(expected.out, 8);
  std::copy(expected.log_sum_exp.data.begin(), expected.log_sum_exp.data.end(), sums);
  const cuda::Matrix d_out = device.matrix(inputs.d_out, 0), dq = device.matrix(c.q_shape(), padding),
                     dk = device.matrix(c.k_shape(), padding), dv = device.matrix(c.k_shape(), padding);
  // Where each query sees one key, its score has a gradient of exactly zero: the own kernels know that.
  const bool taken = library->backward(views, c.documents(), d_out, dq, dk, dv);
  REQUIRE(taken == (c.spans.window != 1));
  if (taken) found.gradients = {device.read(dq), device.read(dk), device.read(dv)};
  return found;
}

void means_attention(const Case& c) {
  INFO(fmt::format("heads {}/{}, {}, window {}, {} queries, {} keys, {}", c.heads, c.kv_heads,
                   c.spans.causal ? "causal" : "not causal", c.spans.window, c.queries(), c.keys(),
                   c.any_order ? "any order" : "one order"));
  const Inputs inputs(c);
  const Found expected = of_reference(c, inputs), found = of_graphs(c, inputs, expected);
  CHECK(relative_error(found.out.data, expected.out.data) < 5e-3);
  CHECK(relative_error(found.log_sum_exp.data, expected.log_sum_exp.data) < 1e-5);
  for (size_t i = 0; i < found.gradients.size(); ++i) {
    INFO("gradient of "
         << "qkv"[i]);
    CHECK(relative_error(found.gradients[i], expected.gradients[i]) < 5e-3);
  }
}

}  // namespace

TEST_CASE("the graphs mean causal attention within packed documents") {
  means_attention({2, 2, {{0, 9, 9, 10, 40}, {0, 9, 9, 10, 40}}});
  means_attention({4, 2, {{0, 9, 40}, {0, 9, 40}}});
  means_attention({2, 1, {{0, 9, 40}, {0, 9, 40}}, true});
}

TEST_CASE("the graphs mean attention in a window; of one key, its forward alone") {
  means_attention({2, 1, {{0, 9, 40}, {0, 9, 40}, true, 1}});
  means_attention({2, 1, {{0, 9, 40}, {0, 9, 40}, true, 7}});
  means_attention({2, 1, {{0, 2, 20}, {0, 9, 40}, true, 5}});
}

TEST_CASE("the graphs mean attention of the last queries against more keys") {
  means_attention({2, 1, {{0, 1, 20}, {0, 9, 40}}});
  means_attention({2, 2, {{0, 1, 2}, {0, 9, 40}}});
}

TEST_CASE("the graphs mean attention that is not causal, with more keys than queries or fewer") {
  means_attention({3, 1, {{0, 12, 20}, {0, 9, 40}, false}});
}
