// Groups and queues of collectives on an emulated device: what is summed, and what waits for what. Streams of
// the emulated device are threads, so that what is not ordered by an event really runs beside each other.
#include <chrono>
#include <thread>

#include "comm/collective_queue.hpp"
#include "comm/rank_order_sum.hpp"
#include "comm/staged_group.hpp"
#include "tests/catch.hpp"
#include "tests/comm/collective_thread.hpp"
#include "tests/comm/oracle.hpp"
#include "tests/devices/rank_device.hpp"

using namespace collie;
using namespace collie::test;

namespace {

// A rank with a queue of collectives beside its own work.
struct BackgroundRank {
  RankDevice compute;
  RankDevice communication;
};

struct BackgroundRanks {
  explicit BackgroundRanks(int size) {
    std::vector<std::shared_ptr<DeviceSlot>> slots;
    for (int rank = 0; rank < size; ++rank) {
      ranks.push_back(std::make_unique<BackgroundRank>());
      slots.push_back(std::make_shared<DeviceSlot>(DeviceSlot{ranks.back()->communication.queue}));
    }
    group = make_device_group(slots);
    for (int rank = 0; rank < size; ++rank)
      drivers.push_back(std::make_unique<CollectiveThread>(
          group[at(rank)], 4,
          DeviceOrder{ranks[at(rank)]->compute.queue, ranks[at(rank)]->communication.queue}));
  }

  CollectiveQueue& queue(int rank) { return drivers[at(rank)]->queue(); }
  RankDevice& compute(int rank) { return ranks[at(rank)]->compute; }
  DeviceQueue& communication(int rank) { return *ranks[at(rank)]->communication.queue; }

  std::vector<std::unique_ptr<BackgroundRank>> ranks;
  Group group;
  std::vector<std::unique_ptr<CollectiveThread>> drivers;
};

void copy(DeviceQueue& queue, const Tensor& from, Tensor& to) {
  queue.copy(static_cast<const std::byte*>(from.raw()), static_cast<std::byte*>(to.raw()), from.bytes());
}

struct Inputs {
  explicit Inputs(const Shape& shape) {
    for (int rank = 0; rank < 2; ++rank) x.push_back(random_tensor(shape, DType::f32, 10 + at(rank)));
    sum = oracle_sum(DType::f32, {bytes_of(x[0]), bytes_of(x[1])});
  }
  std::vector<Tensor> x;
  Bytes sum;
};

}  // namespace

TEST_CASE("sums on a device have the bits of those on the host, of any dtype, length and alignment") {
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::bf16);
  const int summands = GENERATE(1, 3, 64);
  const int64_t count = GENERATE(1, 7, 4096, 70001);
  const bool aligned = GENERATE(false, true), in_place = GENERATE(false, true);
  if (summands == 64 && count > 4096) return;  // takes long
  CAPTURE(name(dtype), summands, count, aligned, in_place);
  const RankDevice device;
  const int64_t offset = aligned ? 0 : 1;
  std::vector<Tensor> x, there, out;
  std::vector<const std::byte*> in, in_there;
  std::vector<std::byte*> out_there;
  for (int i = 0; i < summands; ++i) {
    Tensor values = random_tensor({count + offset}, dtype, random_key(static_cast<uint64_t>(i), "summand"));
    if (dtype == DType::bf16) {  // numbers, not any bits: a NaN's payload is nobody's
      auto* const bits = static_cast<uint16_t*>(values.raw());
      for (int64_t j = 0; j < values.numel(); ++j) bits[j] = static_cast<uint16_t>(bits[j] & 0xBFFFU);
    }
    there.push_back(device.upload(values));
    x.push_back(values.rows(offset, count + offset));
    in.push_back(static_cast<const std::byte*>(x.back().raw()));
    in_there.push_back(static_cast<const std::byte*>(there.back().rows(offset, count + offset).raw()));
  }
  for (int i = 0; i < 2; ++i) {
    const Tensor whole = in_place && i < summands ? there[at(i)] : device.empty({count + offset}, dtype);
    out.push_back(whole.rows(offset, count + offset));
    out_there.push_back(static_cast<std::byte*>(out.back().raw()));
  }
  device.queue->sum_in_rank_order(dtype, in_there, out_there, count);
  const Tensor expected = make_tensor({count}, dtype);
  std::byte* const target = static_cast<std::byte*>(expected.raw());
  comm::sum_in_rank_order(dtype, in, {&target, 1}, 0, count);
  for (const Tensor& each : out) CHECK(bytes_on_device(each) == bytes_of(expected));
}

TEST_CASE("a call that is on the host on one rank and on a device on another is refused") {
  const RankDevice device;
  const auto slot = std::make_shared<DeviceSlot>(DeviceSlot{device.queue});
  const Group group = make_device_group({slot, slot});
  for (const auto& thrown : run_ranks(2, [&](int rank) {
         Tensor x = rank == 0 ? make_tensor({4}, DType::f32) : device.empty({4}, DType::f32);
         group[at(rank)]->all_reduce_sum(x);
       }))
    CHECK(said(thrown) ==
          "RunError: process group: rank 0 calls all_reduce_sum of float32 [4] on the host, but rank 1 calls "
          "all_reduce_sum of float32 [4] on a device");
}

TEST_CASE("an end without a device takes no tensor that is on one") {
  const RankDevice device;
  Tensor x = device.empty({4}, DType::f32);
  CHECK_THROWS_AS(make_in_process_group(1)[0]->all_reduce_sum(x), std::logic_error);
}

TEST_CASE("a collective waits for what its ranks have queued, and the host for neither") {
  const Inputs inputs({5000});
  RankDevice device[2];
  const Group group = make_device_group({std::make_shared<DeviceSlot>(DeviceSlot{device[0].queue}),
                                         std::make_shared<DeviceSlot>(DeviceSlot{device[1].queue})});
  std::vector<Tensor> source, x;
  for (int rank = 0; rank < 2; ++rank) {
    source.push_back(device[rank].upload(inputs.x[at(rank)]));
    x.push_back(device[rank].empty({5000}, DType::f32));
  }
  // The values come late on both, on rank 0 last; the collective and what follows it are queued at once.
  Hold second(*device[0].queue), first(*device[1].queue);
  std::vector<Tensor> after;
  CHECK(complaint(run_ranks(2, [&](int rank) {
          if (rank == 1) sleep_ms(20);  // so that it queues the work of both
          copy(*device[rank].queue, source[at(rank)], x[at(rank)]);
          group[at(rank)]->all_reduce_sum(x[at(rank)]);
        })) == "");
  for (int rank = 0; rank < 2; ++rank) {
    after.push_back(device[rank].empty({5000}, DType::f32));
    copy(*device[rank].queue, x[at(rank)], after[at(rank)]);
  }
  first.release();
  sleep_ms(20);
  second.release();
  for (int rank = 0; rank < 2; ++rank) CHECK(bytes_on_device(after[at(rank)]) == inputs.sum);
}

TEST_CASE("a queue's collectives run while the ranks' own work is held") {
  const Inputs inputs({5000});
  BackgroundRanks ranks(2);
  std::vector<Tensor> x;
  std::vector<CollectiveQueue::Pending> pending;
  std::vector<std::unique_ptr<Hold>> holds;
  for (int rank = 0; rank < 2; ++rank) {
    x.push_back(ranks.compute(rank).upload(inputs.x[at(rank)]));
    pending.push_back(ranks.queue(rank).submit(
        "sum", [x = x[at(rank)]](ProcessGroup& group) mutable { group.all_reduce_sum(x); }));
    holds.push_back(std::make_unique<Hold>(*ranks.compute(rank).queue));
  }
  for (const auto& each : pending) each.wait();  // the host's: the ranks' devices are held
  for (int rank = 0; rank < 2; ++rank) ranks.communication(rank).synchronize();
  // The sums are there, though the ranks' own queues have not moved: read beside them.
  const RankDevice beside;
  for (int rank = 0; rank < 2; ++rank) {
    Tensor seen = beside.empty({5000}, DType::f32);
    copy(*beside.queue, x[at(rank)], seen);
    CHECK(bytes_on_device(seen) == inputs.sum);
  }
}

TEST_CASE("a queue's collective waits for what the rank had queued at its submission") {
  const Inputs inputs({5000});
  BackgroundRanks ranks(2);
  std::vector<Tensor> source, x;
  std::vector<CollectiveQueue::Pending> pending;
  std::vector<std::unique_ptr<Hold>> holds;
  for (int rank = 0; rank < 2; ++rank) {
    source.push_back(ranks.compute(rank).upload(inputs.x[at(rank)]));
    x.push_back(ranks.compute(rank).empty({5000}, DType::f32));
    holds.push_back(std::make_unique<Hold>(*ranks.compute(rank).queue));
    copy(*ranks.compute(rank).queue, source[at(rank)], x[at(rank)]);
    pending.push_back(ranks.queue(rank).submit(
        "sum", [x = x[at(rank)]](ProcessGroup& group) mutable { group.all_reduce_sum(x); }));
  }
  for (const auto& each : pending) each.wait();
  sleep_ms(20);
  holds.clear();
  for (int rank = 0; rank < 2; ++rank) CHECK(bytes_on_device(x[at(rank)]) == inputs.sum);
}

TEST_CASE("what a rank queues after wait() comes after the collective") {
  const Inputs inputs({5000});
  BackgroundRanks ranks(2);
  std::vector<std::unique_ptr<Hold>> holds;
  for (int rank = 0; rank < 2; ++rank) holds.push_back(std::make_unique<Hold>(ranks.communication(rank)));
  std::vector<Tensor> x, after;
  std::vector<CollectiveQueue::Pending> pending;
  for (int rank = 0; rank < 2; ++rank) {
    x.push_back(ranks.compute(rank).upload(inputs.x[at(rank)]));
    after.push_back(ranks.compute(rank).empty({5000}, DType::f32));
    pending.push_back(ranks.queue(rank).submit(
        "sum", [x = x[at(rank)]](ProcessGroup& group) mutable { group.all_reduce_sum(x); }));
  }
  for (int rank = 0; rank < 2; ++rank) {
    pending[at(rank)].wait();
    copy(*ranks.compute(rank).queue, x[at(rank)], after[at(rank)]);
  }
  sleep_ms(20);
  holds.clear();
  for (int rank = 0; rank < 2; ++rank) CHECK(bytes_on_device(after[at(rank)]) == inputs.sum);
}

TEST_CASE("memory that only a collective holds is not used again before the collective is over") {
  const Inputs inputs({5000});
  const bool waits = GENERATE(true, false);  // or drops the handle
  CAPTURE(waits);
  BackgroundRanks ranks(2);
  std::vector<std::unique_ptr<Hold>> holds;
  for (int rank = 0; rank < 2; ++rank) holds.push_back(std::make_unique<Hold>(ranks.communication(rank)));
  std::vector<Tensor> part;
  std::vector<CollectiveQueue::Pending> pending;
  for (int rank = 0; rank < 2; ++rank) {
    part.push_back(ranks.compute(rank).empty({2500}, DType::f32));
    Tensor whole = ranks.compute(rank).upload(inputs.x[at(rank)]);
    pending.push_back(ranks.queue(rank).submit(
        "sum", [whole = std::move(whole), part = part[at(rank)]](ProcessGroup& group) mutable {
          group.reduce_scatter_sum(whole, part);
        }));
  }
  if (waits)
    for (const auto& each : pending) each.wait();
  pending.clear();
  // Blocks of the device are NaN when they are handed out.
  std::vector<Tensor> others;
  for (int i = 0; i < 20; ++i) {
    sleep_ms(2);
    for (int rank = 0; rank < 2; ++rank) others.push_back(ranks.compute(rank).empty({5000}, DType::f32));
  }
  holds.clear();
  for (int rank = 0; rank < 2; ++rank) {
    while (ranks.queue(rank).in_flight() > 0) sleep_ms(1);
    ranks.communication(rank).synchronize();
    CHECK(bytes_on_device(part[at(rank)]) == part_of(inputs.sum, at(rank), 2));
  }
}

TEST_CASE("a collective sees what the rank had recorded at its submission, also through host memory") {
  const bool on_the_device = GENERATE(true, false);
  CAPTURE(on_the_device);
  const Inputs inputs({5000});
  BackgroundRanks ranks(2);
  const Group on_the_host = make_in_process_group(2);
  std::vector<std::unique_ptr<CollectiveThread>> staged;
  for (int rank = 0; rank < 2; ++rank)
    staged.push_back(std::make_unique<CollectiveThread>(
        make_staged_group(on_the_host[at(rank)], std::make_shared<MemoryAccount>()), 4,
        DeviceOrder{ranks.compute(rank).queue, nullptr}));
  CHECK(complaint(run_ranks(2, [&](int rank) {
          RankDevice& device = ranks.compute(rank);
          CollectiveQueue& queue = on_the_device ? ranks.queue(rank) : staged[at(rank)]->queue();
          const Tensor source = device.upload(inputs.x[at(rank)]);
          Tensor x = device.empty({5000}, DType::f32), after = device.empty({5000}, DType::f32);
          device.stream->as_graphs(1, [] {});
          device.stream->as_graphs(1, [&] {
            copy(*device.queue, source, x);  // recorded
            const auto pending =
                queue.submit("sum", [x](ProcessGroup& group) mutable { group.all_reduce_sum(x); });
            pending.wait();
            copy(*device.queue, x, after);
          });
          if (bytes_on_device(after) != inputs.sum) throw std::runtime_error("another sum");
          if (device.stream->graphs().counts().launched == 0)
            throw std::runtime_error("nothing was recorded");
        })) == "");
}

TEST_CASE("ranks that share a device meet in the middle of what they record") {
  const Inputs inputs({5000});
  RankDevice device[2];
  const Group group = make_device_group({std::make_shared<DeviceSlot>(DeviceSlot{device[0].queue}),
                                         std::make_shared<DeviceSlot>(DeviceSlot{device[1].queue})});
  CHECK(complaint(run_ranks(2, [&](int rank) {
          RankDevice& own = device[rank];
          const Tensor source = own.upload(inputs.x[at(rank)]);
          for (int i = 0; i < 4; ++i) {
            Tensor x = own.empty({5000}, DType::f32), after = own.empty({5000}, DType::f32);
            own.stream->as_graphs(1, [&] {
              copy(*own.queue, source, x);
              group[at(rank)]->all_reduce_sum(x);
              copy(*own.queue, x, after);
            });
            if (bytes_on_device(after) != inputs.sum) throw std::runtime_error("another sum");
          }
          // Of three rounds: the copy before and the one after once; the second graph each time that its one
          // node is of another kind, as the rank that comes last computes the sum where the other one copies.
          if (own.stream->graphs().counts().made > 5)
            throw std::runtime_error("graphs made: " + std::to_string(own.stream->graphs().counts().made));
        })) == "");
}
