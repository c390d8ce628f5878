// The one suite that every byte link must pass: what groups rely on.
#include "comm/byte_link.hpp"

#include <atomic>

#include "tests/catch.hpp"
#include "tests/comm/implementations.hpp"
#include "tests/comm/link_support.hpp"
#include "tests/comm/memory_link.hpp"
#include "tests/comm/oracle.hpp"

using namespace collie;
using namespace collie::test;
using comm::Patience;

TEST_CASE("messages of one tag keep their order, those of others may be taken first") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  CAPTURE(kind.name);
  const Links links = kind.make(2);
  const auto a = message({1}), b = message({2}), c = message({3});
  const auto first = message({0}), second = message({0}), other = message({0});
  const auto send_a = send(*links[0], 1, 7, a), send_b = send(*links[0], 1, 7, b);
  const auto send_c = send(*links[0], 1, 8, c);
  receive(*links[1], 0, 8, other)->wait(Patience::endless);
  receive(*links[1], 0, 7, first)->wait(Patience::endless);
  receive(*links[1], 0, 7, second)->wait(Patience::limited);
  for (const auto* each : {&send_a, &send_b, &send_c}) (*each)->wait(Patience::endless);
  CHECK(*other == *c);
  CHECK(*first == *a);
  CHECK(*second == *b);
}

TEST_CASE("short and long messages of one tag keep their order, although others post them") {
  constexpr int count = 40;
  constexpr size_t short_bytes = 16, long_bytes = 200'000;
  const Links links = make_gloo_links(2);
  std::vector<std::shared_ptr<Bytes>> rooms, messages;
  std::vector<std::unique_ptr<comm::Transfer>> receives, sends;
  for (int i = 0; i < count; ++i) {
    rooms.push_back(std::make_shared<Bytes>(long_bytes));
    receives.push_back(receive(*links[1], 0, 7, rooms.back()));
  }
  for (int i = 0; i < count; ++i) {
    messages.push_back(std::make_shared<Bytes>(i % 2 == 0 ? short_bytes : long_bytes, std::byte(i)));
    sends.push_back(send(*links[0], 1, 7, messages.back()));
  }
  for (int i = 0; i < count; ++i) {
    receives[at(i)]->wait(Patience::limited);
    CHECK(rooms[at(i)]->front() == std::byte(i));
    CHECK(rooms[at(i)]->at(messages[at(i)]->size() - 1) == std::byte(i));
  }
  for (const auto& sent : sends) sent->wait(Patience::endless);
}

TEST_CASE("a message may be shorter than the room for it") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  const Links links = kind.make(2);
  const auto room = message({9, 9, 9});
  const auto posted = receive(*links[1], 0, 1, room);
  const auto sent = send(*links[0], 1, 1, message({1, 2}));
  posted->wait(Patience::endless);
  sent->wait(Patience::endless);
  CHECK(*room == *message({1, 2, 9}));
}

TEST_CASE("posts that cannot be meant are a programmer's error") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  const Links links = kind.make(2);
  const auto good = message({1}), none = message({});
  const auto large = std::make_shared<Bytes>(links[0]->most_bytes() + 1);
  CHECK_THROWS_AS(send(*links[0], 0, 1, good), std::logic_error);
  CHECK_THROWS_AS(send(*links[0], 2, 1, good), std::logic_error);
  CHECK_THROWS_AS(send(*links[0], 1, uint64_t{1} << 63, good), std::logic_error);
  CHECK_THROWS_AS(receive(*links[0], 1, 1, none), std::logic_error);
  CHECK_THROWS_AS(receive(*links[0], 1, 1, large), std::logic_error);
}

TEST_CASE("a failure of one end is every end's, for waits that have begun and for later posts") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  CAPTURE(kind.name);
  const Links links = kind.make(3);
  const auto thrown = run_ranks(3, [&](int rank) {
    if (rank == 2) {
      sleep_ms(10);
      return links[2]->fail({false, "rank 2 has lost its mind"});
    }
    receive(*links[at(rank)], 1 - rank, 5, message({0}))->wait(Patience::endless);
  });
  CHECK(said(thrown[0]) == "RunError: rank 2 has lost its mind");
  CHECK(said(thrown[1]) == "RunError: rank 2 has lost its mind");
  for (const auto& link : links) {
    CHECK(said_by([&] { link->check(); }) == "RunError: rank 2 has lost its mind");
    CHECK(said_by([&] { send(*link, link->rank() == 0 ? 1 : 0, 5, message({0})); }) ==
          "RunError: rank 2 has lost its mind");
  }
}

TEST_CASE("abort returns when the other ranks have heard of it, whatever they do") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  const Links links = kind.make(4);
  links[1]->abort("enough");
  for (const auto& link : links) CHECK(said_by([&] { link->check(); }) == "Aborted: aborted: enough");
}

TEST_CASE("a failure's memory stays with the link") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  Links links = kind.make(2);
  const auto held = message({1, 2, 3});
  {
    const auto posted = receive(*links[0], 1, 5, held);
    links[0]->abort("enough");
    CHECK(said_by([&] { posted->wait(Patience::endless); }) == "Aborted: aborted: enough");
  }
  CHECK(held.use_count() > 1);
  links.clear();
  CHECK(held.use_count() == 1);
}

TEST_CASE("groups of all, of some and of disjoint ranks share a link at the same time") {
  const LinkKind kind = GENERATE(from_range(link_kinds()));
  CAPTURE(kind.name);
  constexpr int size = 4, rounds = 20;
  const Links links = kind.make(size);
  // Rank r is in everybody's group, in that of the even or odd ranks (which share a number), and in one that
  // counts ranks from behind.
  std::vector<std::vector<Bytes>> expected(3);
  const auto input = [](int group, int rank) {
    return random_tensor({9000}, DType::f32, static_cast<uint64_t>(10 * group + rank));
  };
  const auto members = [](int group, int rank) {
    return group == 0   ? everybody(4)
           : group == 1 ? (rank % 2 == 0 ? std::vector<int>{0, 2} : std::vector<int>{1, 3})
                        : std::vector<int>{3, 2, 1, 0};
  };
  for (int group = 0; group < 3; ++group) {
    for (int rank = 0; rank < size; ++rank) {
      std::vector<Bytes> in;
      for (const int member : members(group, rank)) in.push_back(bytes_of(input(group, member)));
      expected[at(group)].push_back(oracle_sum(DType::f32, in));
    }
  }
  std::atomic<int> wrong = 0;
  CHECK(complaint(run_ranks(3 * size, [&](int thread) {
          const int group = thread / size, rank = thread % size;
          const auto self =
              make_linked_group(links[at(rank)], members(group, rank), static_cast<uint32_t>(group),
                                std::make_shared<MemoryAccount>());
          for (int round = 0; round < rounds; ++round) {
            Tensor x = input(group, rank);
            self->all_reduce_sum(x);
            wrong += bytes_of(x) != expected[at(group)][at(rank)];
          }
        })) == "");
  CHECK(wrong == 0);
}

TEST_CASE("a group's members must be different ranks of the link, its own among them") {
  const Links links = make_memory_links(3);
  const auto make = [&](const std::vector<int>& members, uint32_t number) {
    make_linked_group(links[0], members, number, std::make_shared<MemoryAccount>());
  };
  CHECK_THROWS_AS(make({}, 0), std::logic_error);
  CHECK_THROWS_AS(make({1, 2}, 0), std::logic_error);
  CHECK_THROWS_AS(make({0, 0}, 0), std::logic_error);
  CHECK_THROWS_AS(make({0, 3}, 0), std::logic_error);
  CHECK_THROWS_AS(make({0, 1}, uint32_t{1} << 31), std::logic_error);
  CHECK_THROWS_AS(make_linked_group(make_memory_links(1, 1000)[0], {0}, 0, std::make_shared<MemoryAccount>()),
                  std::logic_error);
}

TEST_CASE("what a group needs beside the tensors is on its account") {
  const Links links = make_memory_links(2);
  const auto account = std::make_shared<MemoryAccount>();
  auto group = make_linked_group(links[0], {0, 1}, 0, account);
  CHECK(account->current(Category::communication) >= 32 * 1024);
  links[0]->abort("enough");
}

TEST_CASE("what is no call is refused") {
  const Links links = make_memory_links(2);
  const auto group = make_linked_group(links[0], {0, 1}, 3, std::make_shared<MemoryAccount>());
  const auto noise = std::make_shared<Bytes>(64, std::byte{7});
  const auto sent = send(*links[1], 0, 6, noise);
  CHECK(said_by([&] { group->barrier(); }) == "RunError: process group: what rank 1 sent is no call");
  CHECK(said_by([&] { links[1]->check(); }) == "RunError: process group: what rank 1 sent is no call");
}
