// A group whose other ranks are not there.
#include "comm/fake_group.hpp"

#include "comm/metered_group.hpp"
#include "tests/catch.hpp"

using namespace collie;

TEST_CASE("a fake group counts what a rank would communicate, without values or others") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto make = [&](int64_t rows) {
    return Tensor::meta({rows, 5}, DType::f32, account, Category::communication);
  };
  MeteredGroup group(make_fake_group(1, 4));
  CHECK(group.rank() == 1);
  CHECK(group.size() == 4);
  Tensor whole = make(8), part = make(2), other = make(8);
  group.all_reduce_sum(whole);
  group.all_gather(part, whole);
  group.reduce_scatter_sum(whole, part);
  group.broadcast(whole, 1);
  group.all_to_all(whole, other);
  group.send(part, 2);
  group.receive(part, 0);
  group.barrier();
  const auto traffic = group.traffic();
  CHECK(traffic.at("all_reduce_sum").bytes == 2 * 3 * 160 / 4);
  CHECK(traffic.at("all_gather").bytes == 3 * 40);
  CHECK(traffic.at("reduce_scatter_sum").bytes == 3 * 40);
  CHECK(traffic.at("broadcast").bytes == 3 * 160);
  CHECK(traffic.at("all_to_all").bytes == 3 * 40);
  CHECK(traffic.at("send").bytes == 40);
  CHECK(traffic.at("receive").bytes == 0);
  group.abort("nobody hears it");
}

TEST_CASE("a fake group refuses what no group could do") {
  const auto account = std::make_shared<MemoryAccount>();
  const auto group = make_fake_group(0, 2);
  Tensor three = Tensor::meta({3}, DType::f32, account, Category::communication);
  Tensor four = Tensor::meta({4}, DType::f32, account, Category::communication);
  CHECK_THROWS_AS(group->all_gather(three, four), std::logic_error);
  CHECK_THROWS_AS(group->send(three, 0), std::logic_error);
  CHECK_THROWS_AS(group->broadcast(three, 2), std::logic_error);
  CHECK_THROWS_AS(group->all_to_all(four, four), std::logic_error);
  CHECK_THROWS_AS(make_fake_group(2, 2), std::logic_error);
}
