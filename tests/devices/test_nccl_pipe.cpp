// Pipes over NCCL between ranks with a GPU each: order, memory, and what becomes of failures. NCCL is a
// double.
#include "comm/nccl/nccl_pipe.hpp"

#include <atomic>
#include <cstring>

#include "tests/catch.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/comm/support.hpp"
#include "tests/devices/nccl_double.hpp"
#include "tests/devices/rank_device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

using End = NcclPipe::End;
constexpr auto nobody_is_gone = [] {};

// Ranks 0 and 1, what each computes on, and both ends of a pipe from 0 to 1.
struct Pair {
  RankDevice from{0}, to{1};
  std::unique_ptr<NcclPipe> sending, receiving;
  nccl::UniqueId id{};

  explicit Pair(const std::function<void()>& others = nobody_is_gone)
      : sending(end_on(0, End::sending)), receiving(end_on(1, End::receiving, others)) {
    nccl_double().get_unique_id(&id);
  }
  static std::unique_ptr<NcclPipe> end_on(int device, End end,
                                          const std::function<void()>& others = nobody_is_gone) {
    const char* const who = end == End::sending ? "tensors from rank 0 to rank 1, at rank 0"
                                                : "tensors from rank 0 to rank 1, at rank 1";
    return std::make_unique<NcclPipe>(nccl_double(), who, end,
                                      cuda::stream_queue(std::make_shared<cuda::Stream>(device)), others);
  }
  void connect() {
    REQUIRE(complaint(run_ranks(2, [&](int rank) { (rank == 0 ? sending : receiving)->connect(id); })) == "");
    take_nccl_calls(0);
    take_nccl_calls(1);
  }
  Tensor computed(const Tensor& values) const {
    Tensor x = from.upload(values);
    from.queue->release(x);
    return x;
  }
  Bytes read(Tensor x) const {
    to.queue->acquire(x);
    Bytes bytes(x.bytes());
    x.read(bytes.data());
    return bytes;
  }
};

}  // namespace

TEST_CASE("tensors come through a pipe in the order in which they are sent, whatever the devices wait for") {
  Pair pair;
  pair.connect();
  const std::vector<Tensor> values = {
      random_tensor({5, 7}, DType::f32, 1), random_tensor({3}, DType::bf16, 2),
      random_tensor({0, 4}, DType::f32, 3), random_tensor({2, 2, 2}, DType::f64, 4),
      random_tensor({9}, DType::i32, 5)};
  auto held = std::make_unique<Hold>(*pair.from.queue);
  const Hold elsewhere(*pair.to.queue);  // what the receiver computes, too, is not waited for
  std::vector<Tensor> x, y;
  for (const Tensor& value : values)
    x.push_back(
        Tensor::on(pair.from.memory, value.shape(), value.dtype(), pair.from.account, Category::activations));
  // The device has not computed them yet.
  emulation::enqueue(pair.from.queue->native(), [x, &values] {
    for (size_t i = 0; i < x.size(); ++i)
      if (x[i].numel() > 0) std::memcpy(x[i].raw(), values[i].raw(), values[i].bytes());
  });
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(pair.sending->next() == i);
    pair.from.queue->release(x[i]);
    pair.sending->send(x[i]);
  }
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(pair.receiving->next() == i);
    y.push_back(pair.receiving->receive(values[i].shape(), values[i].dtype(), pair.to.account));
  }
  CHECK(take_nccl_calls(0) == std::vector<std::string>{"send to 1 of 35 float32", "send to 1 of 3 bfloat16",
                                                       "send to 1 of 8 float64", "send to 1 of 9 int32"});
  CHECK(take_nccl_calls(1) == std::vector<std::string>{"recv from 0 of 35 float32",
                                                       "recv from 0 of 3 bfloat16",
                                                       "recv from 0 of 8 float64", "recv from 0 of 9 int32"});
  held.reset();
  const RankDevice user(1);  // another queue of the receiver's device
  for (size_t i = 0; i < y.size(); ++i) {
    CAPTURE(i);
    user.queue->acquire(y[i]);
    Bytes found(y[i].bytes());
    y[i].read(found.data());
    CHECK(found == bytes_of(values[i]));
  }
}

TEST_CASE("the memory of a tensor is kept until it is sent, and paid for until the host has let it go") {
  Pair pair;
  pair.connect();
  const Tensor values = random_tensor({3000}, DType::f32, 1);
  pair.sending->send(pair.computed(values));
  CHECK(pair.from.account->current_total() == 0);
  // The sender's device goes on, and would use the memory again.
  pair.from.queue->synchronize();
  for (int i = 0; i < 20; ++i)
    pair.from.upload(random_tensor({3000}, DType::f32, 2 + static_cast<uint64_t>(i)));
  pair.from.queue->synchronize();
  {
    const Tensor x = pair.receiving->receive({3000}, DType::f32, pair.to.account);
    CHECK(pair.to.account->current(Category::communication) == values.bytes());
    CHECK(pair.read(x) == bytes_of(values));
  }
  CHECK(pair.to.account->current_total() == 0);
}

TEST_CASE("pipes both ways between two ranks do not wait for each other") {
  Pair there;
  there.connect();
  const auto back_sending = Pair::end_on(1, End::sending), back_receiving = Pair::end_on(0, End::receiving);
  nccl::UniqueId id{};
  nccl_double().get_unique_id(&id);
  REQUIRE(complaint(run_ranks(
              2, [&](int rank) { (rank == 1 ? back_sending : back_receiving)->connect(id); })) == "");
  const Tensor a = random_tensor({20}, DType::f32, 1), b = random_tensor({20}, DType::f32, 2);
  // Both hosts send before either receives.
  there.sending->send(there.computed(a));
  Tensor x = there.to.upload(b);
  there.to.queue->release(x);
  back_sending->send(x);
  Tensor y = back_receiving->receive({20}, DType::f32, there.from.account);
  there.from.queue->acquire(y);
  Bytes found(y.bytes());
  y.read(found.data());
  CHECK(found == bytes_of(b));
  CHECK(there.read(there.receiving->receive({20}, DType::f32, there.to.account)) == bytes_of(a));
}

TEST_CASE("an end of a pipe that is lost ends the other with NCCL's reason, and lets its device go on") {
  Pair pair;
  pair.connect();
  const Tensor awaited = pair.receiving->receive({8}, DType::f32, pair.to.account);
  pair.receiving->check();
  lose_nccl_rank(0);
  pair.read(awaited);  // comes to an end
  const std::string expected =
      "RunError: tensors from rank 0 to rank 1, at rank 1: NCCL: remote process exited or there was a "
      "network "
      "error (connection closed by rank 0)";
  CHECK(said(run_ranks(1, [&](int) { pair.receiving->check(); })[0]) == expected);
  CHECK(said(run_ranks(1, [&](int) { pair.receiving->receive({8}, DType::f32, pair.to.account); })[0]) ==
        expected);
}

TEST_CASE("what is known to be gone otherwise, and an abort, end a pipe, also while it is connected") {
  std::atomic<bool> gone = false;
  Pair pair([&] {
    if (gone) throw RunError("the link is gone");
  });
  SECTION("while it is connected") {
    gone = true;
    CHECK(said(run_ranks(1, [&](int) { pair.receiving->connect(pair.id); })[0]) ==
          "RunError: the link is gone");
    pair.sending->abort("rank 1 is gone");
    CHECK(said(run_ranks(1, [&](int) { pair.sending->connect(pair.id); })[0]) ==
          "Aborted: aborted: rank 1 is gone");
  }
  SECTION("while the device waits") {
    pair.connect();
    const Tensor awaited = pair.receiving->receive({8}, DType::f32, pair.to.account);
    gone = true;
    pair.read(awaited);
    CHECK(said(run_ranks(1, [&](int) { pair.receiving->check(); })[0]) == "RunError: the link is gone");
    pair.sending->send(pair.computed(random_tensor({8}, DType::f32, 1)));  // nobody takes it
    pair.sending->abort("rank 1 is gone");
    pair.from.queue->synchronize();
  }
}

TEST_CASE("ends of a pipe that differ in what comes next are told, where NCCL would hang") {
  Pair pair;
  pair.connect();
  pair.sending->send(pair.computed(random_tensor({8}, DType::f32, 1)));
  const auto thrown = run_ranks(1, [&](int) {
    pair.read(pair.receiving->receive({9}, DType::f32, pair.to.account));
    pair.receiving->check();
  });
  CAPTURE(said(thrown[0]));
  CHECK(said(thrown[0]).find("this hangs: rank 0 calls send to 1 of 8 float32, rank 1 calls recv from 0 of 9 "
                             "float32") != std::string::npos);
}

TEST_CASE("a pipe has one direction") {
  Pair pair;
  CHECK_THROWS_AS(pair.receiving->send(Tensor()), std::logic_error);
  CHECK_THROWS_AS(pair.sending->receive({1}, DType::f32, pair.to.account), std::logic_error);
}
