// What cuDNN is asked and given, with a table of functions in its place, on an emulated device.
#include <map>
#include <set>

#include "kernels/cuda/cudnn/attention.hpp"
#include "kernels/cuda/cudnn/packing.hpp"
#include "kernels/cuda/memory/device_memory.hpp"
#include "kernels/cuda/ops/elementwise.hpp"
#include "kernels/operations.hpp"
#include "kernels/tensor.hpp"
#include "tests/catch.hpp"
#include "tests/cudnn/stand_in.hpp"

using namespace collie;
using namespace collie::cuda;
using namespace collie::test;
namespace id = collie::cuda::cudnn_tensor;

namespace {

// A rank's attention, on documents of any lengths.
class Rank {
 public:
  explicit Rank(bool any_order = false) {
    stand_in::asked() = {};
    library_ = make_cudnn_attention({stand_in::table(), stream_, memory_, account_, indices_, 90, any_order,
                                     [this](const std::string& message) { said.push_back(message); }});
    stand_in::asked().plans = 0;
    said.clear();
  }
  ~Rank() {
    library_.reset();
    CHECK(stand_in::asked().alive.empty());
  }

  struct Call {
    std::vector<int32_t> query_starts, key_starts;
    int64_t heads = 4, kv_heads = 2, head_dim = 64, padding = 0;
    bool causal = true;
    int64_t window = 0, past_keys = 0;
    ScoreRules rules = {};
  };

  bool forward(const Call& call) { return library_->forward(views(call), documents(call)); }
  bool backward(const Call& call) {
    const AttentionViews forward = views(call);
    d_out = rows(forward.q.rows, forward.q.width, call.padding);
    dq = rows(forward.q.rows, forward.q.width, call.padding);
    dk = rows(forward.k.rows, forward.k.width, call.padding);
    dv = rows(forward.k.rows, forward.k.width, call.padding);
    return library_->backward(forward, documents(call), d_out, dq, dk, dv);
  }

  // What was given under a number, an array on the device.
  std::vector<int32_t> array(int64_t number, size_t count) {
    stream_->synchronize();
    const auto* const values = static_cast<const int32_t*>(stand_in::asked().given.at(number));
    return {values, values + count};
  }
  void synchronize() { stream_->synchronize(); }
  Stream& stream() { return *stream_; }

  std::vector<std::string> said;
  Matrix q, d_out, dq, dk, dv;

 private:
  Matrix rows(int64_t count, int64_t width, int64_t padding) {
    tensors_.push_back(
        Tensor::on(memory_, {count, width + padding}, DType::bf16, account_, Category::workspace));
    return {tensors_.back().raw(), Element::bf16, count, width, width + padding};
  }
  AttentionViews views(const Call& call) {
    const int64_t queries = call.query_starts.back(), keys = call.key_starts.back(),
                  wide = call.heads * call.head_dim, narrow = call.kv_heads * call.head_dim;
    q = rows(queries, wide, call.padding);
    tensors_.push_back(Tensor::on(memory_, {queries, call.heads}, DType::f32, account_, Category::workspace));
    float* const sums = tensors_.back().data<float>();
    return {q,
            rows(keys, narrow, call.padding),
            rows(keys, narrow, call.padding),
            rows(queries, wide, call.padding),
            sums,
            call.heads,
            call.kv_heads,
            call.head_dim,
            0.125F,
            call.rules};
  }
  static Documents documents(const Call& call) {
    const AttentionSpans spans{call.query_starts, call.key_starts, call.causal, call.window, call.past_keys};
    return {call.query_starts, call.key_starts, call.causal, call.window, documents_of(spans).of_one_key,
            call.past_keys};
  }

  std::shared_ptr<MemoryAccount> account_ = std::make_shared<MemoryAccount>();
  std::shared_ptr<Stream> stream_ = std::make_shared<Stream>(0);
  std::shared_ptr<MemorySource> memory_ = device_memory(stream_);
  IndexCache indices_{stream_, memory_, account_};
  std::vector<Tensor> tensors_;
  std::unique_ptr<AttentionLibrary> library_;
};

Rank::Call packed(const std::vector<int32_t>& starts) {
  Rank::Call call;
  call.query_starts = call.key_starts = starts;
  return call;
}

using Ints = std::vector<int32_t>;

}  // namespace

TEST_CASE("plans are for sizes of two leading bits") {
  for (const auto& [size, expected] : std::map<int64_t, int64_t>{{1, 1},
                                                                 {2, 2},
                                                                 {3, 3},
                                                                 {4, 4},
                                                                 {5, 6},
                                                                 {7, 8},
                                                                 {129, 192},
                                                                 {200, 256},
                                                                 {1024, 1024},
                                                                 {1500, 1536}})
    CHECK(rounded_up(size) == expected);
}

TEST_CASE("packings of like sizes share a plan") {
  Rank rank;
  CHECK(rank.forward(packed({0, 100, 300, 600, 1000, 1100})));
  CHECK(stand_in::asked().plans == 1);
  CHECK(rank.forward(packed({0, 390, 600, 610, 800, 810, 1000})));  // 5 and 6 documents, 400 and 390 long
  CHECK(stand_in::asked().plans == 1);
  CHECK(rank.forward(packed({0, 1000})));
  CHECK(stand_in::asked().plans == 2);
  CHECK(rank.backward(packed({0, 1000})));
  CHECK(stand_in::asked().plans == 3);
  CHECK(rank.said.empty());
}

TEST_CASE("cuDNN is given every tensor of its graph, and nothing else") {
  for (const bool any_order : {false, true}) {
    for (const int64_t kv_heads : {2, 4}) {
      for (const int64_t window : {0, 7}) {
        Rank rank(any_order);
        const auto given = [] {
          std::set<int64_t> numbers;
          for (const auto& [number, pointer] : stand_in::asked().given)
            if (pointer != nullptr) numbers.insert(number);
          return numbers;
        };
        Rank::Call call = packed({0, 9, 30});
        call.kv_heads = kv_heads;
        call.window = window;
        for (const bool causal : {true, false}) {
          CAPTURE(any_order, kv_heads, window, causal);
          call.causal = causal;
          stand_in::asked().tensors.clear();
          REQUIRE(rank.forward(call));
          CHECK(given() == stand_in::asked().tensors);
          stand_in::asked().tensors.clear();
          REQUIRE(rank.backward(call));
          CHECK(given() == stand_in::asked().tensors);
        }
      }
    }
  }
}

TEST_CASE("the documents' lengths and starts are on the device, those of empty documents after them") {
  Rank rank;
  Rank::Call call;
  call.query_starts = {0, 2, 2, 5, 6, 7, 9};  // the second has no tokens
  call.key_starts = {0, 10, 10, 13, 30, 31, 40};
  call.padding = 8;
  call.window = 5;
  REQUIRE(rank.forward(call));
  CHECK(rank.array(id::query_lengths, 6) == Ints{2, 3, 1, 1, 2, 0});
  CHECK(rank.array(id::key_lengths, 6) == Ints{10, 3, 17, 1, 9, 0});
  CHECK(rank.array(id::offsets + id::q, 7) == Ints{0, 528, 1320, 1584, 1848, 2376, 2376});
  CHECK(rank.array(id::offsets + id::k, 7) == Ints{0, 1360, 1768, 4080, 4216, 5440, 5440});
  CHECK(rank.array(id::offsets + id::log_sum_exp, 7) == Ints{0, 8, 20, 24, 28, 36, 36});
  CHECK(stand_in::asked().given.at(id::q) == rank.q.data);
}

TEST_CASE("values are given from the host, the window in the type that its mask is computed in") {
  Rank rank;
  Rank::Call call = packed({0, 40});
  call.window = 5;
  float scale = 0, window = 0;
  int32_t whole = 0;
  stand_in::asked().when_run = [&](const stand_in::Description&) {
    scale = *static_cast<float*>(stand_in::asked().given.at(id::score_scale));
    window = *static_cast<float*>(stand_in::asked().given.at(id::window));
    whole = *static_cast<int32_t*>(stand_in::asked().given.at(id::window));
  };
  REQUIRE(rank.forward(call));
  CHECK(scale == 0.125F);
  CHECK(window == 5);
  call.key_starts = {0, 60};
  REQUIRE(rank.forward(call));
  CHECK(whole == 5);
}

TEST_CASE("what cuDNN has no plan for is left to the own kernels, said once, and not asked again") {
  Rank rank;
  stand_in::asked().refuses = true;
  CHECK(!rank.forward(packed({0, 40})));
  CHECK(!rank.forward(packed({0, 41})));
  CHECK(stand_in::asked().plans == 2);  // of both heuristics
  REQUIRE(rank.said.size() == 1);
  CHECK(rank.said[0].find("own kernels") != std::string::npos);
  CHECK(rank.said[0].find("no engine") != std::string::npos);
}

TEST_CASE("tensors that cuDNN cannot read are left to the own kernels") {
  Rank rank;
  Rank::Call odd = packed({0, 40});
  odd.head_dim = 60;
  CHECK(!rank.forward(odd));
  CHECK(rank.said.back().find("head_dim 60") != std::string::npos);
  Rank::Call apart = packed({0, 40});
  apart.padding = 4;
  CHECK(!rank.forward(apart));
  CHECK(!rank.backward(apart));
  CHECK(rank.said.back().find("16 bytes") != std::string::npos);
  Rank::Call capped = packed({0, 40});
  capped.rules.cap = 30;
  CHECK(!rank.forward(capped));
  CHECK(!rank.backward(capped));
  CHECK(rank.said.back().find("soft cap") != std::string::npos);
  Rank::Call unasked = packed({0, 40});
  unasked.causal = false;
  unasked.query_starts = {0, 40, 40};
  unasked.key_starts = {0, 30, 40};
  CHECK(!rank.forward(unasked));
  CHECK(rank.said.back().find("no queries") != std::string::npos);
  Rank::Call past = packed({0, 40});
  past.window = 7;
  past.past_keys = 3;
  CHECK(!rank.forward(past));
  CHECK(!rank.backward(past));
  CHECK(rank.said.back().find("past all keys") != std::string::npos);
  CHECK(!rank.forward(packed({0})));
  CHECK(!rank.forward(packed({0, 0})));
  CHECK(rank.said.size() == 5);
  CHECK(stand_in::asked().plans == 0);
}

TEST_CASE("a backward in one order that needs too much workspace is left to the own kernels") {
  const Rank::Call large = packed({0, 30000});  // 4 heads of 32768 x 32768 bfloat16: 8 GiB
  {
    Rank rank;
    CHECK(rank.forward(large));
    CHECK(!rank.backward(large));
    CHECK(rank.said.size() == 1);
    CHECK(rank.said[0].find("4 GiB") != std::string::npos);
  }
  Rank rank(true);
  CHECK(rank.backward(large));
}

TEST_CASE("gradients of keys that heads share are made in dense rows and copied to where they belong") {
  Rank rank;
  Rank::Call call = packed({0, 5});
  call.padding = 16;
  stand_in::asked().when_run = [&](const stand_in::Description&) {
    rank.synchronize();
    for (const int64_t number : {id::dk, id::dv}) {
      CHECK(stand_in::asked().given.at(number) != (number == id::dk ? rank.dk.data : rank.dv.data));
      auto* const made = static_cast<uint16_t*>(stand_in::asked().given.at(number));
      for (int i = 0; i < 5 * 128; ++i) made[i] = static_cast<uint16_t>(number * 1000 + i);
    }
  };
  REQUIRE(rank.backward(call));
  rank.synchronize();
  const auto* const dk = static_cast<const uint16_t*>(rank.dk.data);
  const auto* const dv = static_cast<const uint16_t*>(rank.dv.data);
  CHECK(dk[0] == id::dk * 1000);
  CHECK(dk[4 * 144 + 127] == id::dk * 1000 + 4 * 128 + 127);
  CHECK(dv[1 * 144] == id::dv * 1000 + 128);
}

TEST_CASE("gradients of queries that are summed in any order start at zero") {
  Rank rank(true);
  Rank::Call call = packed({0, 5, 9});
  call.padding = 16;
  int zeros = 0;
  stand_in::asked().when_run = [&](const stand_in::Description&) {
    rank.synchronize();
    const auto* const sums = static_cast<const float*>(stand_in::asked().given.at(id::dq_sums));
    for (int64_t i = 0; i < 9 * (4 * 64 + 16); ++i) zeros += sums[i] == 0 ? 1 : 0;
  };
  REQUIRE(rank.backward(call));
  CHECK(zeros == 9 * (4 * 64 + 16));
}

TEST_CASE("what cuDNN queues while a task is recorded is captured, in the order of the rest") {
  Rank rank;
  REQUIRE(rank.backward(packed({0, 5})));
  const Matrix x{rank.dq.data, Element::f32, 1, 8, 8};  // some memory of the device
  stand_in::asked().when_run = [&](const stand_in::Description&) {
    cuda::add(stand_in::asked().stream, x, x, x);
  };
  for (int i = 0; i < 2; ++i)
    rank.stream().as_graphs(1, [&] {
      cuda::fill(rank.stream().native(), x, 5);
      REQUIRE(rank.forward(packed({0, 5})));
      cuda::scale(rank.stream().native(), x, 3);
    });
  rank.synchronize();
  CHECK(*static_cast<const float*>(x.data) == 30);
  CHECK(rank.stream().graphs().counts().launched == 1);
}

TEST_CASE("cuDNN's attention is not used on devices that it was not looked at for") {
  const auto stream = std::make_shared<Stream>(0);
  const auto memory = device_memory(stream);
  const auto account = std::make_shared<MemoryAccount>();
  IndexCache indices(stream, memory, account);
  for (const int capability : {80, 89, 120})
    CHECK_THROWS_AS(make_cudnn_attention({stand_in::table(), stream, memory, account, indices, capability,
                                          false, [](const std::string&) {}}),
                    std::runtime_error);
}
