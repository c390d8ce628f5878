// What a Gloo link says when ranks fail, leave or never come.
#include "comm/gloo_link.hpp"

#include <thread>

#include "tests/catch.hpp"
#include "tests/comm/key_stores.hpp"
#include "tests/comm/link_support.hpp"
#include "tests/comm/linked_groups.hpp"

using namespace collie;
using namespace collie::test;
using comm::Patience;

TEST_CASE("a rank that has left is missed only by those who still want something from it") {
  Links links = make_gloo_links(3);
  links[2].reset();
  const auto sent = message({1}), room = message({0});
  CHECK(complaint(run_ranks(2, [&](int rank) {
          if (rank == 0) send(*links[0], 1, 1, sent)->wait(Patience::endless);
          if (rank == 1) receive(*links[1], 0, 1, room)->wait(Patience::endless);
        })) == "");
  CHECK(*room == *sent);
  const std::string expected = "RunError: rank 2 (127.0.0.1) is gone: it has left";
  CHECK(said_by([&] { receive(*links[0], 2, 1, room)->wait(Patience::endless); }) == expected);
  // Which the other survivor hears of.
  CHECK(said_by([&] { receive(*links[1], 0, 1, room)->wait(Patience::endless); }) == expected);
}

TEST_CASE("a peer that falls silent in the middle of a transfer is given up after the link's time") {
  comm::GlooOptions options;
  options.transfer_timeout = std::chrono::milliseconds(200);
  const Links links = make_gloo_links(3, options);
  const double seconds = seconds_of([&] {
    const auto thrown = run_ranks(2, [&](int rank) {
      receive(*links[at(rank)], 2, 1, message({0}))->wait(rank == 0 ? Patience::limited : Patience::endless);
    });
    for (const auto& each : thrown)
      CHECK(said(each) ==
            "RunError: rank 2 (127.0.0.1) is gone: nothing was heard of it for 0.2 s in the middle of a "
            "transfer");
  });
  CHECK(seconds >= 0.2);
  CHECK(seconds < 5);
}

TEST_CASE("abort from another thread in the middle of large transfers") {
  for (const int delay_ms : {1, 5, 20}) {
    const Group group = make_linked_groups(make_gloo_links(2));
    std::thread aborter([&] {
      sleep_ms(delay_ms);
      group[1]->abort("enough");
    });
    const auto thrown = run_ranks(2, [&](int rank) {
      Tensor x = make_tensor({8 << 20}, DType::f32);
      while (true) group[at(rank)]->all_reduce_sum(x);
    });
    aborter.join();
    for (const auto& each : thrown) CHECK(said(each) == "Aborted: aborted: enough");
  }
}

TEST_CASE("a Gloo link of one rank") {
  const Group group = make_linked_groups(make_gloo_links(1));
  Tensor x = random_tensor({10000}, DType::f32, 1);
  const Bytes before = bytes_of(x);
  group[0]->all_reduce_sum(x);
  group[0]->barrier();
  CHECK(bytes_of(x) == before);
}

TEST_CASE("an address must be that of an interface of this host, as a number") {
  MemoryStore store;
  comm::GlooOptions options;
  const auto refusal = [&](const char* address) -> std::string {
    options.address = address;
    try {
      connect_gloo(options, store);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  };
  CHECK(refusal("localhost") == "address 'localhost' is not a number such as 10.0.0.3");
  CHECK(refusal("") == "address '' is not a number such as 10.0.0.3");
  CHECK(refusal("192.0.2.1") ==  // for documentation: nobody's
        "address 192.0.2.1 cannot be listened at on this host: Cannot assign requested address");
  CHECK(refusal("0.0.0.0") == "address 0.0.0.0 is that of no interface; give the one that other ranks reach");
  CHECK(refusal("::") == "address :: is that of no interface; give the one that other ranks reach");
}

TEST_CASE("a rank that does not come in time is named") {
  MemoryStore store;
  comm::GlooOptions options;
  options.size = 2;
  options.connect_timeout = std::chrono::milliseconds(50);
  CHECK(said_by([&] { connect_gloo(options, store); }) ==
        "RunError: rank 1 did not come to connect within 0.05 s");
}

TEST_CASE("ends with different message sizes are refused") {
  MemoryStore store;
  const auto thrown = run_ranks(2, [&](int rank) {
    comm::GlooOptions options;
    options.rank = rank;
    options.size = 2;
    options.most_bytes = rank == 0 ? 1 << 20 : 1 << 21;
    connect_gloo(options, store);
  });
  CHECK(said(thrown[0]) ==
        "RunError: rank 1 speaks another version or has another size of messages: '1 2097152 127.0.0.1', not "
        "'1 "
        "1048576 127.0.0.1'");
  CHECK(said(thrown[1]).find("rank 0 speaks another version") != std::string::npos);
}

TEST_CASE("ranks of a group may go as soon as their last operation is done") {
  for (int round = 0; round < 10; ++round) {
    Group group = make_linked_over_gloo(4);
    CHECK(complaint(run_ranks(4, [&](int rank) {
            group[at(rank)]->barrier();
            Tensor x = random_tensor({20'000}, DType::f32, 1);
            group[at(rank)]->all_reduce_sum(x);
            group[at(rank)].reset();
          })) == "");
  }
}
