// What a link over messages does beyond what every link does: its bounds, and what it says when ranks fail,
// leave or fall silent.
#include <thread>

#include "actors/caf_types.hpp"
#include "tests/catch.hpp"
#include "tests/comm/link_support.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/links/message_links.hpp"

using namespace collie;
using namespace collie::test;
using comm::Patience;
using Kind = LinkMessage::Kind;

namespace {

using Make = std::function<MessageLinks(int, const MessageLinkOptions&)>;

struct Transport {
  std::string name;
  Make make;
};
std::vector<Transport> transports() {
  return {{"messages", make_local_message_links}, {"TLS", make_tls_message_links}};
}

MessageLinkOptions rank_0_of_2() {
  MessageLinkOptions options;
  options.size = 2;
  options.addresses = {"here", "there"};
  return options;
}

// An end whose messages go nowhere but here.
struct LonelyEnd {
  std::vector<LinkMessage> said;
  std::shared_ptr<MessageLink> link = std::make_shared<MessageLink>(
      rank_0_of_2(), [this](int, LinkMessage message) { said.push_back(std::move(message)); });

  size_t count(Kind kind) const {
    size_t count = 0;
    for (const auto& message : said) count += message.kind == kind;
    return count;
  }
  void hear(Kind kind, uint64_t tag = 0, const std::shared_ptr<Bytes>& bytes = nullptr) {
    link->hear(
        {kind, 1, tag, bytes ? std::span<const std::byte>(*bytes) : std::span<const std::byte>(), bytes});
  }
};

}  // namespace

TEST_CASE("a chunk leaves when its receive is posted, and few are on their way at a time") {
  LonelyEnd end;
  const auto large = std::make_shared<Bytes>(100'000);
  std::vector<std::unique_ptr<comm::Transfer>> sends;
  for (int i = 0; i < 10; ++i) sends.push_back(send(*end.link, 1, 5, large));
  CHECK(end.count(Kind::chunk) == 0);
  for (int i = 0; i < 3; ++i) end.hear(Kind::room, 5);
  CHECK(end.count(Kind::chunk) == 3);
  for (int i = 0; i < 7; ++i) end.hear(Kind::room, 5);
  CHECK(end.count(Kind::chunk) == most_link_chunks);
  // Which all tags share.
  end.hear(Kind::room, 6);
  sends.push_back(send(*end.link, 1, 6, large));
  CHECK(end.count(Kind::chunk) == most_link_chunks);
  for (size_t taken = 1; taken <= 11; ++taken) {
    end.hear(Kind::taken);
    CHECK(end.count(Kind::chunk) == std::min<size_t>(11, most_link_chunks + taken));
  }
  for (const auto& each : sends) each->wait(Patience::endless);
  end.hear(Kind::taken);  // of nothing
  CHECK(end.count(Kind::failed) == 0);
}

TEST_CASE(
    "a small message's memory may be used again as soon as it has left, a large one's when it has come") {
  LonelyEnd end;
  const auto small = message({1, 2, 3}), large = std::make_shared<Bytes>(100'000);
  end.hear(Kind::room, 5);
  end.hear(Kind::room, 5);
  send(*end.link, 1, 5, small)->wait(Patience::endless);
  (*small)[0] = std::byte{9};
  CHECK(end.said.at(0).bytes[0] == std::byte{1});
  const auto sent = send(*end.link, 1, 5, large);
  CHECK(end.said.at(1).bytes.data() == large->data());
  CHECK(large.use_count() > 1);
  end.hear(Kind::taken);
  end.hear(Kind::taken);
  sent->wait(Patience::endless);
  end.said.clear();
  CHECK(large.use_count() == 1);
}

TEST_CASE("a peer that sends what was not asked for, or too much, fails the link") {
  LonelyEnd unasked, too_long;
  unasked.hear(Kind::chunk, 5, message({1}));
  CHECK(said_by([&] { unasked.link->check(); }) == "RunError: rank 1: it sent what nobody had asked for");
  const auto room = message({0, 0});
  const auto posted = receive(*too_long.link, 1, 5, room);
  too_long.hear(Kind::chunk, 5, message({1, 2, 3}));
  CHECK(said_by([&] { posted->wait(Patience::endless); }) ==
        "RunError: rank 1: it sent 3 bytes where there was room for 2");
  CHECK(*room == *message({0, 0}));
  CHECK(too_long.count(Kind::failed) == 1);
}

TEST_CASE("what comes after a failure or the link's end is not written anywhere") {
  for (const bool closes : {true, false}) {
    LonelyEnd end;
    const auto room = message({0});
    const auto posted = receive(*end.link, 1, 5, room);
    if (closes)
      end.link->close();
    else
      end.link->fail({false, "enough"});
    end.hear(Kind::chunk, 5, message({1}));
    CHECK(*room == *message({0}));
    CHECK(end.count(Kind::taken) == 0);
  }
}

TEST_CASE("however often a link is aborted whose peer is silent, the wait for it is one") {
  const LonelyEnd end;
  CHECK(seconds_of([&] {
          for (int i = 0; i < 20; ++i) end.link->abort("enough");
        }) < 2);
  CHECK(end.count(Kind::aborted) == 1);
}

TEST_CASE("a tag that nobody receives does not hold up others") {
  const Transport transport = GENERATE(from_range(transports()));
  CAPTURE(transport.name);
  const Links links = transport.make(2, {}).links;
  const auto large = std::make_shared<Bytes>(links[0]->most_bytes(), std::byte{7});
  std::vector<std::unique_ptr<comm::Transfer>> stuck;
  for (size_t i = 0; i < 3 * most_link_chunks; ++i) stuck.push_back(send(*links[0], 1, 1, large));
  const auto room = std::make_shared<Bytes>(large->size());
  const auto received = receive(*links[1], 0, 2, room), sent = send(*links[0], 1, 2, large);
  received->wait(Patience::limited);
  sent->wait(Patience::limited);
  CHECK(*room == *large);
}

TEST_CASE("large sums over messages are those of ranks in one process, bit by bit") {
  const Transport transport = GENERATE(from_range(transports()));
  CAPTURE(transport.name);
  constexpr int size = 3;
  const Group group = make_linked_groups(transport.make(size, {}).links);
  std::vector<Tensor> x;
  std::vector<Bytes> in;
  for (int rank = 0; rank < size; ++rank) {
    x.push_back(random_tensor({4'000'003}, DType::f32, static_cast<uint64_t>(rank)));
    in.push_back(bytes_of(x.back()));
  }
  CHECK(complaint(run_ranks(size, [&](int rank) { group[at(rank)]->all_reduce_sum(x[at(rank)]); })) == "");
  const Bytes expected = oracle_sum(DType::f32, in);
  for (const Tensor& each : x) {
    const bool same = bytes_of(each) == expected;
    CHECK(same);
  }
}

TEST_CASE("abort from another thread in the middle of large transfers as messages") {
  const Transport transport = GENERATE(from_range(transports()));
  CAPTURE(transport.name);
  for (const int delay_ms : {1, 5, 20}) {
    const Group group = make_linked_groups(transport.make(2, {}).links);
    std::thread aborter([&] {
      sleep_ms(delay_ms);
      group[1]->abort("enough");
    });
    const auto thrown = run_ranks(2, [&](int rank) {
      Tensor x = make_tensor({1 << 20}, DType::f32);
      while (true) group[at(rank)]->all_reduce_sum(x);
    });
    aborter.join();
    for (const auto& each : thrown) CHECK(said(each) == "Aborted: aborted: enough");
  }
}

TEST_CASE("a rank that has left a link over messages is missed only by those who still want something") {
  const Transport transport = GENERATE(from_range(transports()));
  CAPTURE(transport.name);
  Links links = transport.make(3, {}).links;
  links[2].reset();
  const auto sent = message({1}), room = message({0});
  CHECK(complaint(run_ranks(2, [&](int rank) {
          if (rank == 0) send(*links[0], 1, 1, sent)->wait(Patience::endless);
          if (rank == 1) receive(*links[1], 0, 1, room)->wait(Patience::endless);
        })) == "");
  CHECK(*room == *sent);
  const std::string expected = "RunError: rank 2 (here) is gone: it has left";
  CHECK(said_by([&] { receive(*links[0], 2, 1, room)->wait(Patience::endless); }) == expected);
  CHECK(said_by([&] { receive(*links[1], 0, 1, room)->wait(Patience::endless); }) == expected);
}

TEST_CASE(
    "a peer that falls silent in the middle of a transfer as messages is given up after the link's time") {
  const Transport transport = GENERATE(from_range(transports()));
  MessageLinkOptions options;
  options.transfer_timeout = std::chrono::milliseconds(200);
  const Links links = transport.make(3, options).links;
  const double seconds = seconds_of([&] {
    const auto thrown = run_ranks(2, [&](int rank) {
      receive(*links[at(rank)], 2, 1, message({0}))->wait(rank == 0 ? Patience::limited : Patience::endless);
    });
    for (const auto& each : thrown)
      CHECK(said(each) ==
            "RunError: rank 2 (here) is gone: nothing was heard of it for 0.2 s in the middle of a transfer");
  });
  CHECK(seconds >= 0.2);
  CHECK(seconds < 5);
}

TEST_CASE("a rank whose end is killed is named by all others, in the middle of a wait") {
  const Transport transport = GENERATE(from_range(transports()));
  CAPTURE(transport.name);
  const MessageLinks made = transport.make(3, {});
  const auto thrown = run_ranks(3, [&](int rank) {
    if (rank == 1) {
      sleep_ms(20);
      return caf::anon_send_exit(made.ends[1], caf::exit_reason::kill);
    }
    receive(*made.links[at(rank)], 2 - rank, 1, message({0}))->wait(Patience::endless);
  });
  for (const int rank : {0, 2}) CHECK(said(thrown[at(rank)]).find("RunError: rank 1 (here) is gone: ") == 0);
}

TEST_CASE("ranks of a group over messages may go as soon as their last operation is done") {
  const Transport transport = GENERATE(from_range(transports()));
  for (int round = 0; round < 10; ++round) {
    Group group = make_linked_groups(transport.make(4, {}).links);
    CHECK(complaint(run_ranks(4, [&](int rank) {
            group[at(rank)]->barrier();
            Tensor x = random_tensor({20'000}, DType::f32, 1);
            group[at(rank)]->all_reduce_sum(x);
            group[at(rank)].reset();
          })) == "");
  }
}
