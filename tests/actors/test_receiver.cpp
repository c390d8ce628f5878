// Tensors from stages in other processes: off the link without the rank, and a failure of the link is told.
#include <numeric>

#include "actors/spawn.hpp"
#include "runtime/tensor_transfer.hpp"
#include "tests/actors/threaded_config.hpp"
#include "tests/catch.hpp"
#include "tests/comm/memory_link.hpp"

namespace collie::test {
namespace {

constexpr RunTag receiver_tag{7, 0};
constexpr Channel channel{Direction::forward, 0, 1};
constexpr auto arrival_patience = std::chrono::seconds(20);

Tensor counting_tensor(int64_t elements) {
  Tensor tensor =
      Tensor::host({elements}, DType::f32, std::make_shared<MemoryAccount>(), Category::workspace);
  std::iota(tensor.data<float>(), tensor.data<float>() + elements, 0.0F);
  return tensor;
}

// What rank 0 says of a tensor that it has put on the link.
Payload announcement(const RunTag& of, const Tensor& tensor, int micro_batch) {
  Payload payload{of, channel, 3, micro_batch, Tensor()};
  payload.sender = 0;
  payload.dims = {tensor.numel()};
  return payload;
}

// Rank 1's receiver; the test is its stage and its node.
struct Bench {
  ThreadedConfig config;
  caf::actor_system system{config};
  caf::scoped_actor self{system};
  std::vector<std::shared_ptr<comm::ByteLink>> links = make_memory_links(2);
  std::shared_ptr<Connections> connections = std::make_shared<Connections>(RankGroups{});
  std::shared_ptr<MemoryAccount> account = std::make_shared<MemoryAccount>();
  caf::actor receiver;

  Bench() {
    connections->set_link(links[1]);
    const auto me = caf::actor_cast<caf::actor>(self);
    receiver = spawn_receiver(system, {receiver_tag, 1, connections, account, me, me});
  }
  ~Bench() { caf::anon_send_exit(receiver, caf::exit_reason::user_shutdown); }
};

}  // namespace

TEST_CASE("a receiver takes a tensor off the link, on the rank's account, and hands it to the stage") {
  Bench bench;
  const Tensor sent = counting_tensor(10'000);  // of several pieces
  const TensorSend under_way(*bench.links[0], 1, channel, sent);
  bench.self->send(bench.receiver,
                   announcement({6, 0}, sent, 0));  // of a run that is over: nothing will come
  bench.self->send(bench.receiver, announcement(receiver_tag, sent, 5));
  bench.self->receive(
      [&](const Payload& payload) {
        CHECK(payload.micro_batch == 5);
        REQUIRE(payload.tensor.numel() == sent.numel());
        CHECK(bench.account->current(Category::communication) == sent.bytes());
        CHECK(
            std::equal(sent.data<float>(), sent.data<float>() + sent.numel(), payload.tensor.data<float>()));
      },
      caf::after(arrival_patience) >> [] { FAIL("nothing came"); });
}

TEST_CASE("a link that fails while a tensor is awaited is told to the rank's node") {
  Bench bench;
  bench.self->send(bench.receiver, announcement(receiver_tag, counting_tensor(100), 0));
  bench.links[0]->abort("rank 0 has had enough");
  bench.self->receive(
      [&](const Failure& failure) {
        CHECK(failure.who == "rank 1");
        CHECK(failure.cause == "aborted: rank 0 has had enough");
      },
      caf::after(arrival_patience) >> [] { FAIL("nothing came"); });
}

}  // namespace collie::test
