// Attention in bfloat16 against the double reference on the same rounded inputs.
#include <fmt/format.h>

#include <utility>

#include "kernels/cuda/attention/attention.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/memory/host_transfers.hpp"
#include "kernels/cuda/memory/index_cache.hpp"
#include "kernels/host_data.hpp"
#include "tests/catch.hpp"
#include "tests/cuda/thread_order.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

namespace {

constexpr double tolerance = 1e-2;
constexpr float untouched = 12345;  // what stands beside a strided tensor's columns; a bfloat16

struct Case {
  int64_t heads, kv_heads, head_dim;
  AttentionSpans spans;

  int64_t queries() const { return spans.query_starts.back(); }
  int64_t keys() const { return spans.key_starts.back(); }
  Shape q_shape() const { return {queries(), heads, head_dim}; }
  Shape k_shape() const { return {keys(), kv_heads, head_dim}; }
  double score_scale() const { return 1 / std::sqrt(static_cast<double>(head_dim)); }
};

std::string to_string(const Case& c) {
  std::string text =
      fmt::format("heads {}/{} of {}, {}, window {}, documents (queries/keys):", c.heads, c.kv_heads,
                  c.head_dim, c.spans.causal ? "causal" : "not causal", c.spans.window);
  for (size_t i = 0; i + 1 < c.spans.query_starts.size(); ++i)
    text += fmt::format(" {}/{}", c.spans.query_starts[i + 1] - c.spans.query_starts[i],
                        c.spans.key_starts[i + 1] - c.spans.key_starts[i]);
  return text;
}

Values rounded(Values values) {
  for (float& value : values.data) value = host::from_bf16(host::to_bf16(value));
  return values;
}

struct Inputs {
  explicit Inputs(const Case& c)
      : q(rounded(random_values(c.q_shape(), 51, 2))),
        k(rounded(random_values(c.k_shape(), 52, 2))),
        v(rounded(random_values(c.k_shape(), 53))),
        d_out(rounded(random_values(c.q_shape(), 54))) {}
  Values q, k, v, d_out;
};

// The backward is given `out` as bfloat16 holds it: what an error of its last bit comes to, where d_out · v
// and d_out · out almost cancel, is no matter of the backward's.
struct Expected {
  Values out;
  std::vector<float> log_sum_exp;
  Outputs outputs;
};
Expected of_reference(const Case& c, const Inputs& inputs) {
  const auto ops = make_reference_operations(std::make_shared<MemoryAccount>());
  Bench bench(*ops, false);
  const Tensor q = bench.input(inputs.q), k = bench.input(inputs.k), v = bench.input(inputs.v),
               d_out = bench.input(inputs.d_out);
  Tensor out = bench.output(c.q_shape()), sums = bench.output(Shape{c.queries(), c.heads}),
         dq = bench.output(c.q_shape()), dk = bench.output(c.k_shape()), dv = bench.output(c.k_shape());
  ops->attention(q, k, v, c.spans, c.score_scale(), out, sums);
  const Values held = rounded({c.q_shape(), bench.read(out)});
  ops->attention_backward(q, k, v, c.spans, c.score_scale(), bench.input(held), sums, d_out, dq, dk, dv);
  return {held,
          bench.read(sums),
          {bench.read(out), bench.read(sums), bench.read(dq), bench.read(dk), bench.read(dv)}};
}

// Tensors of an emulated device. Rows stand `padding` elements further apart than they are wide, half of them
// before the first column.
class Device {
 public:
  explicit Device(int64_t padding) : padding_(padding) {}

  cuda::Matrix output(const Shape& shape) {
    return make({shape, std::vector<float>(static_cast<size_t>(shape.numel()), NAN)});
  }
  cuda::Matrix make(const Values& values) {
    const int64_t rows = values.shape[0], width = values.shape[1] * values.shape[2],
                  stride = width + padding_;
    Tensor on_host = Tensor::host({rows, stride}, DType::bf16, account_, Category::workspace);
    host::fill(on_host, untouched);
    host::upload(values.data, on_host.columns(padding_ / 2, padding_ / 2 + width));
    Tensor x = Tensor::on(memory_, {rows, stride}, DType::bf16, account_, Category::workspace);
    staging_.upload({static_cast<const std::byte*>(on_host.raw()), on_host.bytes()}, x.raw());
    tensors_.push_back(x);
    return {static_cast<uint16_t*>(x.raw()) + padding_ / 2, cuda::Element::bf16, rows, width, stride};
  }
  float* floats(const std::vector<float>& values) {
    float* x = floats(static_cast<int64_t>(values.size()));
    staging_.upload(std::as_bytes(std::span(values)), x);
    return x;
  }
  float* floats(int64_t count) {
    tensors_.push_back(Tensor::on(memory_, {count}, DType::f32, account_, Category::workspace));
    return tensors_.back().data<float>();
  }

  std::vector<float> read(const float* x, int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    staging_.download(x, std::as_writable_bytes(std::span(values)));
    return values;
  }
  // The columns; CHECKs that nothing was written beside them.
  std::vector<float> read(const cuda::Matrix& x) {
    std::vector<uint16_t> all(static_cast<size_t>(x.rows * x.stride));
    staging_.download(static_cast<uint16_t*>(x.data) - padding_ / 2, std::as_writable_bytes(std::span(all)));
    std::vector<float> values;
    bool intact = true;
    for (size_t i = 0; i < all.size(); ++i) {
      const int64_t column = static_cast<int64_t>(i) % x.stride - padding_ / 2;
      const float value = host::from_bf16(all[i]);
      if (column >= 0 && column < x.width)
        values.push_back(value);
      else
        intact = intact && all[i] == host::to_bf16(untouched);
    }
    CHECK(intact);
    return values;
  }

  CUstream_st* stream() { return stream_->native(); }
  cuda::IndexCache& indices() { return indices_; }

 private:
  int64_t padding_;
  std::shared_ptr<MemoryAccount> account_ = std::make_shared<MemoryAccount>();
  std::shared_ptr<cuda::Stream> stream_ = std::make_shared<cuda::Stream>(0);
  std::shared_ptr<MemorySource> memory_ = cuda::device_memory(stream_);
  cuda::HostStaging staging_{stream_};
  cuda::IndexCache indices_{stream_, memory_, account_};
  std::vector<Tensor> tensors_;
};

Outputs of_kernels(const Case& c, const Inputs& inputs, const Expected& expected, int64_t padding) {
  Device device(padding);
  float* sums = device.floats(c.queries() * c.heads);
  const cuda::AttentionViews views{device.make(inputs.q),
                                   device.make(inputs.k),
                                   device.make(inputs.v),
                                   device.output(c.q_shape()),
                                   sums,
                                   c.heads,
                                   c.kv_heads,
                                   c.head_dim,
                                   static_cast<float>(c.score_scale())};
  const cuda::Documents documents = cuda::documents_of(c.spans);
  const cuda::Matrix d_out = device.make(inputs.d_out), dq = device.output(c.q_shape()),
                     dk = device.output(c.k_shape()), dv = device.output(c.k_shape());
  cuda::attention(device.stream(), device.indices(), views, documents);
  cuda::AttentionViews given = views;
  given.out = device.make(expected.out);
  given.log_sum_exp = device.floats(expected.log_sum_exp);
  cuda::attention_backward(device.stream(), device.indices(), given, documents, d_out, dq, dk, dv,
                           device.floats(cuda::attention_backward_workspace(views.q.rows, views.heads)));
  return {device.read(views.out), device.read(sums, c.queries() * c.heads), device.read(dq), device.read(dk),
          device.read(dv)};
}

void is_close(const Case& c) {
  INFO(to_string(c));
  const Inputs inputs(c);
  const Expected expected = of_reference(c, inputs);
  const std::vector<std::string> names{"out", "log_sum_exp", "dq", "dk", "dv"};
  Outputs first;
  // Six: no 16-byte access is possible.
  for (const auto& [padding, backwards] : {std::pair{0, false}, {16, true}, {6, false}}) {
    CAPTURE(padding, backwards);
    set_backward_order(backwards);
    const Outputs found = of_kernels(c, inputs, expected, padding);
    set_backward_order(false);
    for (size_t i = 0; i < names.size(); ++i) {
      INFO(names[i]);
      CHECK(relative_error(found[i], expected.outputs[i]) < tolerance);
    }
    if (first.empty()) first = found;
    const bool same_bits = found == first;
    CHECK(same_bits);
  }
}

}  // namespace

TEST_CASE("attention in bfloat16 is close to the reference at any head_dim", "[attention]") {
  for (const int64_t head_dim : {1, 7, 64}) is_close({2, 1, head_dim, {{0, 3, 70}, {0, 3, 70}}});
  for (const int64_t head_dim : {72, 128}) is_close({2, 1, head_dim, {{0, 20}, {0, 70}}});
  for (const int64_t head_dim : {136, 256}) is_close({2, 1, head_dim, {{0, 2, 19}, {0, 2, 36}}});
}

TEST_CASE("attention in bfloat16 is close to the reference on documents of any length", "[attention]") {
  is_close({2, 2, 64, {{0}, {0}}});
  is_close({2, 1, 64, {{0, 0}, {0, 0}}});
  is_close({1, 1, 64, {{0, 1}, {0, 1}}});
  is_close({2, 1, 64, {{0, 3, 3, 40, 41, 107}, {0, 3, 3, 40, 41, 107}}});
}

TEST_CASE("attention in bfloat16 is close to the reference on documents of several tiles",
          "[attention][slow]") {
  is_close({2, 1, 128, {{0, 128, 288}, {0, 128, 288}}});
  is_close({6, 2, 24, {{0, 64, 128, 400}, {0, 64, 128, 400}}});
  is_close({2, 2, 200, {{0, 150}, {0, 170}}});
}

TEST_CASE("attention in bfloat16 is close to the reference with more keys than queries", "[attention]") {
  is_close({4, 2, 64, {{0, 1}, {0, 77}}});
  is_close({2, 1, 128, {{0, 5, 5, 30}, {0, 60, 70, 140}}});
}

TEST_CASE("attention in bfloat16 that is not causal is close to the reference", "[attention]") {
  is_close({2, 1, 64, {{0, 3, 3, 40}, {0, 1, 1, 70}, false}});
  is_close({1, 1, 128, {{0, 14, 14, 14, 84}, {0, 70, 70, 84, 90}, false}});
}

TEST_CASE("attention in bfloat16 is close to the reference where a query sees only the last keys before it",
          "[attention]") {
  is_close({2, 1, 64, {{0, 3, 80}, {0, 3, 80}, true, 2}});
  is_close({1, 1, 64, {{0, 5, 75}, {0, 70, 210}, true, 65}});
}
