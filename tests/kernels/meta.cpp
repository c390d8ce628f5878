// Operations without memory: the same contracts, the same accounts, no values.
#include "tests/catch.hpp"
#include "tests/kernels/support.hpp"

using namespace collie;
using namespace collie::test;

TEST_CASE("a meta tensor is a tensor in everything but its values", "[meta]") {
  const auto account = std::make_shared<MemoryAccount>(), other = std::make_shared<MemoryAccount>();
  const size_t cached = cached_host_bytes();
  {
    // More than any machine has.
    Tensor x = Tensor::meta({int64_t{1} << 30, int64_t{1} << 14}, DType::f32, account, Category::weights);
    CHECK(account->current(Category::weights) == size_t{1} << 46);
    CHECK(x.device() == DeviceKind::cpu);
    CHECK_FALSE(x.has_memory());
    CHECK(says(complaint([&] { x.raw(); }), "meta"));
    CHECK(says(complaint([&] { x.data<float>(); }), "[1073741824, 16384]"));
    const Tensor part = x.rows(5, 9).columns(2, 4);
    CHECK(part.shape() == Shape{4, 2});
    CHECK_FALSE(part.contiguous());
    CHECK(x.begins_with(x.rows(0, 1)));
    CHECK_FALSE(x.begins_with(x.rows(1, 2)));
    CHECK_FALSE(x.begins_with(Tensor::meta({1}, DType::f32, account, Category::weights)));
    x.charge_to(other, Category::communication);
    CHECK(account->current_total() == 0);
    CHECK(other->current(Category::communication) == size_t{1} << 46);
  }
  CHECK(other->current_total() == 0);
  CHECK(cached_host_bytes() == cached);
}

TEST_CASE("a tensor with memory has it, and begins where it does", "[meta]") {
  const auto account = std::make_shared<MemoryAccount>();
  const Tensor x = Tensor::host({0}, DType::f32, account, Category::weights);
  CHECK(x.has_memory());
  const Tensor y = Tensor::host({4, 2}, DType::f32, account, Category::weights);
  CHECK(y.begins_with(y.reshape({8})));
  CHECK(y.begins_with(y.columns(0, 1)));
  CHECK_FALSE(y.begins_with(y.columns(1, 2)));
}

TEST_CASE("meta operations say that they have no values, and give none", "[meta]") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto ops = make_meta_operations(1, account);
  CHECK_FALSE(ops->has_values());
  CHECK(make_cpu_operations(1, account)->has_values());
  Tensor x = ops->empty({2, 3}, Category::activations);
  Tensor sums = ops->empty({1}, DType::f64, Category::workspace);
  ops->block_sums_of_squares(x, sums);
  ops->cross_entropy(x, std::vector<int32_t>{0, 2}, 1, sums);
  CHECK(ops->read(ops->empty({3}, DType::f64, Category::workspace)).value() == std::vector<double>(3));
  std::vector<float> values(6, 7.0F);
  ops->download(x, values);
  CHECK(values == std::vector<float>(6, 0.0F));
  CHECK(says(complaint([&] { ops->upload(std::vector<float>(5), x); }), "5 host values"));
  CHECK(says(complaint([] { make_meta_operations(0, std::make_shared<MemoryAccount>()); }), "0"));
}

TEST_CASE("meta attention charges the workspace that one thread takes", "[meta]") {
  const DType dtype = GENERATE(DType::f32, DType::bf16);
  CAPTURE(name(dtype));
  const auto peak_of = [dtype](bool meta, const std::vector<int32_t>& starts, bool causal, bool caps,
                               bool drops, int64_t window = 0, int64_t past_keys = 0) {
    const auto account = std::make_shared<MemoryAccount>();
    const auto ops = meta ? make_meta_operations(1, account, dtype) : make_cpu_operations(1, account, dtype);
    const int64_t tokens = starts.back();
    const auto make = [&](const Shape& shape) {
      Tensor x = ops->empty(shape, Category::activations);
      ops->fill(x, 0);
      return x;
    };
    Tensor q = make({tokens, 4, 8}), k = make({tokens, 2, 8}), out = make({tokens, 4, 8});
    Tensor dq = make({tokens, 4, 8}), dk = make({tokens, 2, 8}), dv = make({tokens, 2, 8});
    Tensor sums = ops->empty({tokens, 4}, DType::f32, Category::activations);
    const AttentionSpans spans{starts, starts, causal, window, past_keys};
    const std::vector<uint64_t> numbers(static_cast<size_t>(tokens));
    AttentionScores scores(1);
    scores.soft_cap = caps ? 3 : 0;
    scores.dropout = drops ? 0.5 : 0;
    scores.query_rows = numbers;
    const std::vector<uint64_t> first_keys(starts.size() - 1);
    scores.first_keys = first_keys;
    ops->attention(q, k, k, spans, scores, out, sums);
    const size_t forward = account->peak(Category::workspace);
    ops->attention_backward(q, k, k, spans, scores, out, sums, out, dq, dk, dv);
    return std::pair(forward, account->peak(Category::workspace));
  };
  for (const std::vector<int32_t>& starts :
       {std::vector<int32_t>{0, 1}, {0, 5, 70, 71}, {0, 63, 400}, {0, 1500}, {0, 0, 3}})
    for (const bool causal : {true, false})
      for (const bool caps : {false, true})
        for (const bool drops : {false, true}) {
          CAPTURE(starts, causal, caps, drops);
          CHECK(peak_of(true, starts, causal, caps, drops) == peak_of(false, starts, causal, caps, drops));
        }
  for (const std::vector<int32_t>& starts : {std::vector<int32_t>{0, 1}, {0, 63, 400}, {0, 1500}})
    for (const auto& [window, past_keys] : std::vector<std::pair<int64_t, int64_t>>{{20, 0}, {300, 299}}) {
      CAPTURE(starts, window, past_keys);
      CHECK(peak_of(true, starts, true, true, true, window, past_keys) ==
            peak_of(false, starts, true, true, true, window, past_keys));
    }
}

TEST_CASE("meta attention charges a tile a thread", "[meta]") {
  const auto peak_with = [](int threads) {
    const auto account = std::make_shared<MemoryAccount>();
    const auto ops = make_meta_operations(threads, account);
    Tensor q = ops->empty({64, 3, 8}, Category::activations),
           out = ops->empty({64, 3, 8}, Category::activations);
    Tensor sums = ops->empty({64, 3}, Category::activations);
    ops->attention(q, q, q, {{0, 64}, {0, 64}}, 1, out, sums);
    return account->peak(Category::workspace);
  };
  CHECK(peak_with(1) == 64 * 64 * sizeof(float));
  CHECK(peak_with(2) == 2 * peak_with(1));
  CHECK(peak_with(8) == 3 * peak_with(1));  // one task a head
}
