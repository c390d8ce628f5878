// Groups over NCCL: what is called in which order, and what becomes of failures. NCCL is a double.
#include "comm/nccl/nccl_group.hpp"

#include <chrono>
#include <thread>

#include "tests/catch.hpp"
#include "tests/comm/collective_thread.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/devices/nccl_double.hpp"
#include "tests/devices/rank_device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

struct Ranks {
  // `devices`: of each rank; their own by default.
  explicit Ranks(int size, NcclSums sums = NcclSums::of_nccl, std::vector<int> devices = {}) {
    const Group hosts = make_in_process_group(size);
    for (int rank = 0; rank < size; ++rank) {
      device.push_back(std::make_unique<RankDevice>(devices.empty() ? rank : devices[at(rank)]));
      group.push_back(make_nccl_group(nccl_double(), hosts[at(rank)], device.back()->queue,
                                      {"data group", sums, device.back()->account}));
      take_nccl_calls(rank);
    }
  }
  std::vector<std::exception_ptr> connect() {
    return run_ranks(static_cast<int>(group.size()), [&](int rank) { group[at(rank)]->connect(); });
  }

  std::vector<std::unique_ptr<RankDevice>> device;
  std::vector<std::shared_ptr<NcclGroup>> group;
};

double largest_error(const Bytes& found, const Bytes& expected) {
  const auto* const a = reinterpret_cast<const float*>(found.data());
  const auto* const b = reinterpret_cast<const float*>(expected.data());
  double error = 0;
  for (size_t i = 0; i < found.size() / sizeof(float); ++i)
    error = std::max(error, static_cast<double>(std::abs(a[i] - b[i]) / (1 + std::abs(b[i]))));
  return error;
}

}  // namespace

TEST_CASE(
    "where NCCL is installed it has every function that is called, else it is said what was looked for") {
  const nccl::Available found = nccl::available();
  CAPTURE(found.description);
  if (found.api == nullptr) {
    CHECK(found.description.find("libnccl.so.2") != std::string::npos);
    return;
  }
  int version = 0;
  CHECK(found.api->get_version(&version) == nccl::Result::success);
  CHECK(version >= 21400);
  CHECK(std::string(found.api->get_error_string(nccl::Result::in_progress)) == "NCCL operation in progress");
}

TEST_CASE("NCCL's own sums are those of the ranks, but not in rank order") {
  Ranks ranks(3);
  REQUIRE(complaint(ranks.connect()) == "");
  std::vector<Tensor> x, part;
  std::vector<Bytes> in;
  for (int rank = 0; rank < 3; ++rank) {
    const Tensor values = random_tensor({300}, DType::f32, 20 + at(rank));
    in.push_back(bytes_of(values));
    x.push_back(ranks.device[at(rank)]->upload(values));
    part.push_back(ranks.device[at(rank)]->empty({100}, DType::f32));
  }
  CHECK(complaint(run_ranks(3, [&](int rank) {
          ranks.group[at(rank)]->reduce_scatter_sum(x[at(rank)], part[at(rank)]);
          ranks.group[at(rank)]->all_reduce_sum(x[at(rank)]);
        })) == "");
  const Bytes sum = oracle_sum(DType::f32, in);
  for (int rank = 0; rank < 3; ++rank) {
    CHECK(bytes_on_device(x[at(rank)]) != sum);
    CHECK(largest_error(bytes_on_device(x[at(rank)]), sum) < 1e-5);
    CHECK(largest_error(bytes_on_device(part[at(rank)]), part_of(sum, at(rank), 3)) < 1e-5);
    CHECK(take_nccl_calls(rank) ==
          std::vector<std::string>{"reduce_scatter of 100 float32", "all_reduce of 300 float32"});
  }
}

TEST_CASE("sums in rank order over NCCL are exchanges with every other rank, as many bytes as NCCL's own") {
  Ranks ranks(3, NcclSums::in_rank_order);
  REQUIRE(complaint(ranks.connect()) == "");
  CHECK(complaint(run_ranks(3, [&](int rank) {
          Tensor x = ranks.device[at(rank)]->upload(random_tensor({40}, DType::f32, at(rank)));
          ranks.group[at(rank)]->all_reduce_sum(x);
          ranks.device[at(rank)]->queue->synchronize();
        })) == "");
  // Shares of 16, 16 and 8.
  CHECK(take_nccl_calls(0) == std::vector<std::string>{"send to 1 of 16 float32", "recv from 1 of 16 float32",
                                                       "send to 2 of 8 float32", "recv from 2 of 16 float32",
                                                       "send to 1 of 16 float32", "recv from 1 of 16 float32",
                                                       "send to 2 of 16 float32",
                                                       "recv from 2 of 8 float32"});
}

TEST_CASE("bfloat16 is summed in float and rounded once, over NCCL too") {
  Ranks ranks(3);
  REQUIRE(complaint(ranks.connect()) == "");
  std::vector<Tensor> x, on_host;
  for (int rank = 0; rank < 3; ++rank) {
    Tensor values = random_tensor({50}, DType::bf16, at(rank));
    auto* const bits = static_cast<uint16_t*>(values.raw());
    for (int64_t i = 0; i < 50; ++i) bits[i] = static_cast<uint16_t>(bits[i] & 0xBFFFU);  // numbers
    x.push_back(ranks.device[at(rank)]->upload(values));
    on_host.push_back(values);
  }
  const Group hosts = make_in_process_group(3);
  CHECK(complaint(run_ranks(3, [&](int rank) {
          ranks.group[at(rank)]->all_reduce_sum(x[at(rank)]);
          hosts[at(rank)]->all_reduce_sum(on_host[at(rank)]);
        })) == "");
  for (int rank = 0; rank < 3; ++rank) CHECK(bytes_on_device(x[at(rank)]) == bytes_of(on_host[at(rank)]));
}

TEST_CASE("two ranks on one GPU are refused, with NCCL's reason") {
  Ranks ranks(2, NcclSums::of_nccl, {1, 1});
  for (const auto& thrown : ranks.connect()) {
    const std::string text = said(thrown);
    CAPTURE(text);
    CHECK(text.find("RunError: data group: rank ") == 0);
    CHECK(text.find(" of 2: NCCL: invalid usage (duplicate GPU: ranks 0 and 1 are both on device 1)") !=
          std::string::npos);
  }
}

TEST_CASE("abort ends the wait for ranks that do not come") {
  Ranks ranks(2);
  const auto thrown = run_ranks(2, [&](int rank) {
    if (rank == 0) return ranks.group[0]->connect();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ranks.group[0]->abort("rank 1 never came");
  });
  CHECK(said(thrown[0]) == "Aborted: aborted: rank 1 never came");
}

TEST_CASE("a rank that waits for the others' communicators hears that one of them has given up") {
  const Group hosts = make_in_process_group(2);
  const RankDevice device;
  const auto group =
      make_nccl_group(nccl_double(), hosts[0], device.queue, {"data group", NcclSums::of_nccl, {}});
  const auto thrown = run_ranks(2, [&](int rank) {
    if (rank == 0) return group->connect();
    Tensor id =
        Tensor::host({sizeof(nccl::UniqueId) / 4}, DType::i32, device.account, Category::communication);
    hosts[1]->broadcast(id, 0);
    hosts[1]->abort("rank 1 found no memory");  // of the group on the host alone
  });
  CHECK(said(thrown[0]) == "Aborted: aborted: rank 1 found no memory");
}

TEST_CASE("a rank that is lost ends the group with NCCL's reason, also while nobody calls") {
  Ranks ranks(3);
  REQUIRE(complaint(ranks.connect()) == "");
  std::vector<Tensor> x;
  for (int rank = 0; rank < 3; ++rank)
    x.push_back(ranks.device[at(rank)]->upload(random_tensor({8}, DType::f32, at(rank))));
  // Rank 2 never calls: the others' devices wait, their hosts do not.
  ranks.group[0]->all_reduce_sum(x[0]);
  ranks.group[1]->all_reduce_sum(x[1]);
  ranks.group[0]->check();
  lose_nccl_rank(2);
  for (int rank = 0; rank < 2; ++rank) {
    ranks.device[at(rank)]->queue->synchronize();
    const std::string expected = "RunError: data group: rank " + std::to_string(rank) +
                                 " of 3: NCCL: remote process exited or there was a network error "
                                 "(connection closed by rank 2)";
    CHECK(said(run_ranks(1, [&](int) { ranks.group[at(rank)]->check(); })[0]) == expected);
    CHECK(said(run_ranks(1, [&](int) { ranks.group[at(rank)]->all_reduce_sum(x[at(rank)]); })[0]) ==
          expected);
  }
}

TEST_CASE("the double tells different orders of calls, which would hang") {
  Ranks ranks(2);
  REQUIRE(complaint(ranks.connect()) == "");
  const auto thrown = run_ranks(2, [&](int rank) {
    Tensor x = ranks.device[at(rank)]->upload(random_tensor({8}, DType::f32, 1));
    Tensor y = ranks.device[at(rank)]->empty({16}, DType::f32);
    NcclGroup& self = *ranks.group[at(rank)];
    if (rank == 0) self.all_gather(x, y);
    self.all_reduce_sum(x);
    if (rank == 1) self.all_gather(x, y);
    ranks.device[at(rank)]->queue->synchronize();
    self.check();
  });
  for (const auto& each : thrown) {
    const std::string text = said(each);
    CAPTURE(text);
    CHECK(text.find("this hangs: rank ") != std::string::npos);
    CHECK(text.find("all_gather of 8 float32") != std::string::npos);
    CHECK(text.find("all_reduce of 8 float32") != std::string::npos);
  }
}

TEST_CASE(
    "buckets are reduced over NCCL in the order of their submission, while the ranks' own work is held") {
  constexpr int size = 2, buckets = 4;
  Ranks ranks(size);
  REQUIRE(complaint(ranks.connect()) == "");
  std::vector<std::unique_ptr<RankDevice>> compute;
  std::vector<std::unique_ptr<Hold>> holds;
  std::vector<std::vector<Tensor>> x(size);
  for (int rank = 0; rank < size; ++rank) compute.push_back(std::make_unique<RankDevice>(rank));
  std::vector<std::unique_ptr<CollectiveThread>> drivers;
  std::vector<CollectiveQueue::Pending> pending;
  for (int rank = 0; rank < size; ++rank)
    drivers.push_back(std::make_unique<CollectiveThread>(
        ranks.group[at(rank)], buckets,
        DeviceOrder{compute[at(rank)]->queue, ranks.device[at(rank)]->queue}));
  for (int rank = 0; rank < size; ++rank) {
    for (int bucket = 0; bucket < buckets; ++bucket) {
      const Tensor values = random_tensor({64 + bucket}, DType::f32, at(10 * rank + bucket));
      x[at(rank)].push_back(compute[at(rank)]->upload(values));
      pending.push_back(drivers[at(rank)]->queue().submit(
          "sum", [x = x[at(rank)].back()](ProcessGroup& group) mutable { group.all_reduce_sum(x); }));
    }
    holds.push_back(std::make_unique<Hold>(*compute[at(rank)]->queue));
  }
  for (const auto& each : pending) each.wait();
  for (int rank = 0; rank < size; ++rank) ranks.device[at(rank)]->queue->synchronize();
  holds.clear();
  for (int rank = 0; rank < size; ++rank) {
    CHECK(take_nccl_calls(rank) ==
          std::vector<std::string>{"all_reduce of 64 float32", "all_reduce of 65 float32",
                                   "all_reduce of 66 float32", "all_reduce of 67 float32"});
    for (int bucket = 0; bucket < buckets; ++bucket) {
      const Bytes sum =
          oracle_sum(DType::f32, {bytes_of(random_tensor({64 + bucket}, DType::f32, at(bucket))),
                                  bytes_of(random_tensor({64 + bucket}, DType::f32, at(10 + bucket)))});
      CHECK(bytes_on_device(x[at(rank)][at(bucket)]) == sum);  // of two summands: one order
    }
  }
}
