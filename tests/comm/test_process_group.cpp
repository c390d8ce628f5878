// The one suite that every process group must pass, bitwise against a sequential oracle.
#include "comm/process_group.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "comm/rank_order_sum.hpp"
#include "tests/catch.hpp"
#include "tests/comm/implementations.hpp"
#include "tests/comm/oracle.hpp"

using namespace collie;
using namespace collie::test;

namespace {

uint64_t key_of(const std::string& purpose, int rank, int round = 0) {
  return random_key(static_cast<uint64_t>(rank + 100 * round), purpose);
}

std::vector<Bytes> all_bytes(const std::vector<Tensor>& tensors) {
  std::vector<Bytes> bytes;
  for (const Tensor& tensor : tensors) bytes.push_back(bytes_of(tensor));
  return bytes;
}

std::vector<Tensor> random_tensors(int size, const Shape& shape, DType dtype, const std::string& purpose) {
  std::vector<Tensor> tensors;
  for (int rank = 0; rank < size; ++rank)
    tensors.push_back(random_tensor(shape, dtype, key_of(purpose, rank)));
  return tensors;
}

std::vector<Tensor> empty_tensors(int size, const Shape& shape, DType dtype) {
  std::vector<Tensor> tensors;
  for (int rank = 0; rank < size; ++rank) tensors.push_back(make_tensor(shape, dtype));
  return tensors;
}

// One on each side of where small operations end, and none at all.
const std::vector<int64_t> row_counts = {0, 1, 7, 3001};

}  // namespace

TEST_CASE("a group knows its ranks") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const Group group = implementation.make(3);
  REQUIRE(group.size() == 3);
  for (int rank = 0; rank < 3; ++rank) {
    CHECK(group[at(rank)]->rank() == rank);
    CHECK(group[at(rank)]->size() == 3);
  }
}

TEST_CASE("all_reduce_sum adds in rank order") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64);
  CAPTURE(implementation.name, size, name(dtype));
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    CAPTURE(rows);
    std::vector<Tensor> x = random_tensors(size, {rows, 5}, dtype, "all_reduce");
    const Bytes expected = oracle_sum(dtype, all_bytes(x));
    CHECK(complaint(run_ranks(size, [&](int rank) { group[at(rank)]->all_reduce_sum(x[at(rank)]); })) == "");
    for (const Tensor& tensor : x) CHECK(bytes_of(tensor) == expected);
  }
}

TEST_CASE("reduce_scatter_sum gives each rank its part of the sum, also in place", "[slow]") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64);
  const bool in_place = GENERATE(false, true);
  CAPTURE(implementation.name, size, name(dtype), in_place);
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    CAPTURE(rows);
    const std::vector<Tensor> in = random_tensors(size, {size * rows, 3}, dtype, "reduce_scatter");
    const Bytes sum = oracle_sum(dtype, all_bytes(in));
    std::vector<Tensor> out = empty_tensors(size, {rows, 3}, dtype);
    if (in_place)
      for (int rank = 0; rank < size; ++rank)
        out[at(rank)] = in[at(rank)].rows(rank * rows, (rank + 1) * rows);
    CHECK(complaint(run_ranks(size, [&](int rank) {
            group[at(rank)]->reduce_scatter_sum(in[at(rank)], out[at(rank)]);
          })) == "");
    for (int rank = 0; rank < size; ++rank)
      CHECK(bytes_of(out[at(rank)]) == part_of(sum, at(rank), at(size)));
  }
}

TEST_CASE("all_gather gives every rank all parts, of any dtype, also in place", "[slow]") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::bf16, DType::i32);
  const bool in_place = GENERATE(false, true);
  CAPTURE(implementation.name, size, name(dtype), in_place);
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    CAPTURE(rows);
    std::vector<Tensor> in = random_tensors(size, {rows, 2, 2}, dtype, "all_gather");
    const Bytes expected = joined(all_bytes(in));
    std::vector<Tensor> out = empty_tensors(size, {size * rows, 2, 2}, dtype);
    for (int rank = 0; in_place && rank < size; ++rank) {
      const Tensor part = out[at(rank)].rows(rank * rows, (rank + 1) * rows);
      set_bytes(part, bytes_of(in[at(rank)]));
      in[at(rank)] = part;
    }
    CHECK(complaint(run_ranks(
              size, [&](int rank) { group[at(rank)]->all_gather(in[at(rank)], out[at(rank)]); })) == "");
    for (const Tensor& tensor : out) CHECK(bytes_of(tensor) == expected);
  }
}

TEST_CASE("broadcast gives every rank the root's tensor, of any dtype", "[slow]") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::bf16, DType::i32);
  CAPTURE(implementation.name, size, name(dtype));
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    for (int root = 0; root < size; ++root) {
      CAPTURE(rows, root);
      std::vector<Tensor> x = random_tensors(size, {rows, 4}, dtype, "broadcast");
      const Bytes expected = bytes_of(x[at(root)]);
      CHECK(complaint(run_ranks(size, [&](int rank) { group[at(rank)]->broadcast(x[at(rank)], root); })) ==
            "");
      for (const Tensor& tensor : x) CHECK(bytes_of(tensor) == expected);
    }
  }
}

TEST_CASE("all_to_all gives part j of rank i to rank j as part i, of any dtype", "[slow]") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::bf16, DType::i32);
  CAPTURE(implementation.name, size, name(dtype));
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    CAPTURE(rows);
    const std::vector<Tensor> in = random_tensors(size, {size * rows, 3}, dtype, "all_to_all");
    std::vector<Tensor> out = empty_tensors(size, {size * rows, 3}, dtype);
    CHECK(complaint(run_ranks(
              size, [&](int rank) { group[at(rank)]->all_to_all(in[at(rank)], out[at(rank)]); })) == "");
    for (int rank = 0; rank < size; ++rank) {
      std::vector<Bytes> parts;
      for (const Tensor& tensor : in) parts.push_back(part_of(bytes_of(tensor), at(rank), at(size)));
      CHECK(bytes_of(out[at(rank)]) == joined(parts));
    }
  }
}

TEST_CASE("send and receive move one tensor, of any dtype, in both directions") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(2, 3, 4);
  const DType dtype = GENERATE(DType::f32, DType::f64, DType::bf16, DType::i32);
  CAPTURE(implementation.name, size, name(dtype));
  const Group group = implementation.make(size);
  for (const int64_t rows : row_counts) {
    CAPTURE(rows);
    // Down the ranks and back, every rank adding nothing: what rank 0 gets back is what it sent.
    const Tensor x = random_tensor({rows, 4}, dtype, 1);
    std::vector<Tensor> buffer = empty_tensors(size, {rows, 4}, dtype);
    CHECK(complaint(run_ranks(size, [&](int rank) {
            ProcessGroup& self = *group[at(rank)];
            if (rank > 0) self.receive(buffer[at(rank)], rank - 1);
            if (rank + 1 < size) self.send(rank == 0 ? x : buffer[at(rank)], rank + 1);
            if (rank + 1 < size) self.receive(buffer[at(rank)], rank + 1);
            if (rank > 0) self.send(buffer[at(rank)], rank - 1);
          })) == "");
    for (const Tensor& tensor : buffer) CHECK(bytes_of(tensor) == bytes_of(x));
  }
}

TEST_CASE("send returns only when its tensor was received") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const Group group = implementation.make(2);
  std::atomic<bool> receiving = false;
  bool sent_before = false;
  CHECK(complaint(run_ranks(2, [&](int rank) {
          Tensor x = random_tensor({4}, DType::f32, 1);
          if (rank == 1) {
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
            receiving = true;
            return group[1]->receive(x, 0);
          }
          group[0]->send(x, 1);
          sent_before = !receiving;
        })) == "");
  CHECK(!sent_before);
}

TEST_CASE("nobody leaves a barrier before everybody has come") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  const Group group = implementation.make(size);
  constexpr int rounds = 50;
  std::vector<std::atomic<int>> round(at(size));
  std::atomic<int> early = 0;
  CHECK(complaint(run_ranks(size, [&](int rank) {
          for (int i = 1; i <= rounds; ++i) {
            round[at(rank)] = i;
            group[at(rank)]->barrier();
            for (const auto& other : round) early += other < i;
            group[at(rank)]->barrier();
          }
        })) == "");
  CHECK(early == 0);
}

// Also what the fast tier has of those operations whose every size and dtype is in the slow one.
TEST_CASE("any sequence of operations gives what the oracle gives") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const int size = GENERATE(1, 2, 3, 4);
  CAPTURE(implementation.name, size);
  const Group group = implementation.make(size);
  constexpr int rounds = 60;
  const RandomStream dice(random_key(7, "sequence"));
  const auto roll = [&](int round, uint64_t which, uint64_t bound) {
    return static_cast<int>(dice.below(bound, static_cast<uint64_t>(round) * 8 + which));
  };
  // got[rank][round], and what should have been got: filled by the ranks, and by the oracle before them.
  std::vector<std::vector<Bytes>> got(at(size), std::vector<Bytes>(rounds)), expected = got;
  const auto input = [&](int rank, int round) {
    const int64_t rows = roll(round, 1, 40) * (roll(round, 2, 6) == 0 ? 100 : 1);
    return random_tensor({size * rows, 3}, roll(round, 3, 2) == 0 ? DType::f32 : DType::f64,
                         key_of("sequence", rank, round));
  };
  for (int round = 0; round < rounds; ++round) {
    std::vector<Tensor> in;
    for (int rank = 0; rank < size; ++rank) in.push_back(input(rank, round));
    const std::vector<Bytes> bytes = all_bytes(in);
    const Bytes sum = oracle_sum(in[0].dtype(), bytes);
    for (int rank = 0; rank < size; ++rank) {
      std::vector<Bytes> parts;
      for (const Bytes& other : bytes) parts.push_back(part_of(other, at(rank), at(size)));
      const int kind = roll(round, 0, 5), root = roll(round, 4, at(size));
      expected[at(rank)][at(round)] = kind == 0   ? sum
                                      : kind == 1 ? part_of(sum, at(rank), at(size))
                                      : kind == 2 ? joined(bytes)
                                      : kind == 3 ? bytes[at(root)]
                                                  : joined(parts);
    }
  }
  CHECK(complaint(run_ranks(size, [&](int rank) {
          ProcessGroup& self = *group[at(rank)];
          for (int round = 0; round < rounds; ++round) {
            Tensor x = input(rank, round), y;
            const int kind = roll(round, 0, 5), root = roll(round, 4, at(size));
            if (kind == 0) self.all_reduce_sum(x);
            if (kind == 1) self.reduce_scatter_sum(x, y = make_tensor({x.dim(0) / size, 3}, x.dtype()));
            if (kind == 2) self.all_gather(x, y = make_tensor({x.dim(0) * size, 3}, x.dtype()));
            if (kind == 3) self.broadcast(x, root);
            if (kind == 4) self.all_to_all(x, y = make_tensor(x.shape(), x.dtype()));
            got[at(rank)][at(round)] = bytes_of(y.defined() ? y : x);
          }
        })) == "");
  CHECK(got == expected);
}

TEST_CASE("different collectives, shapes, dtypes or roots are refused on every rank, naming both") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  if (!implementation.compares_calls) return;
  CAPTURE(implementation.name);
  const Group group = implementation.make(3);
  // One rank comes late, so that the other two find out; on a loaded machine perhaps not late enough, and
  // then it is named.
  const auto check = [&](const std::function<void(ProcessGroup&, int)>& call, const std::string& message,
                         const std::string& with_late_rank) {
    const auto thrown = run_ranks(3, [&](int rank) { call(*group[at(rank)], rank); });
    for (const auto& one : thrown) {
      const std::string text = said(one);
      if (text != "RunError: process group: " + with_late_rank)
        CHECK(text == "RunError: process group: " + message);
    }
  };
  Tensor four = make_tensor({4}, DType::f32), five = make_tensor({5}, DType::f32),
         doubles = make_tensor({4}, DType::f64);
  SECTION("operation") {
    check(
        [&](ProcessGroup& self, int rank) {
          if (rank == 1) return self.barrier();
          if (rank == 2) std::this_thread::sleep_for(std::chrono::milliseconds(20));
          Tensor x = make_tensor({4}, DType::f32);
          self.all_reduce_sum(x);
        },
        "rank 0 calls all_reduce_sum of float32 [4], but rank 1 calls barrier",
        "rank 1 calls barrier, but rank 2 calls all_reduce_sum of float32 [4]");
  }
  SECTION("shape, and every later call is refused too") {
    const auto call = [&](ProcessGroup& self, int rank) {
      if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
      self.all_reduce_sum(rank == 2 ? five : rank == 1 ? four : four);
    };
    const std::string message =
        "rank 1 calls all_reduce_sum of float32 [4], but rank 2 calls all_reduce_sum of float32 [5]";
    const std::string late =
        "rank 0 calls all_reduce_sum of float32 [4], but rank 2 calls all_reduce_sum of float32 [5]";
    check(call, message, late);
    check(call, message, late);
    check([](ProcessGroup& self, int) { self.barrier(); }, message, late);
  }
  SECTION("dtype") {
    check(
        [&](ProcessGroup& self, int rank) {
          if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
          self.broadcast(rank == 2 ? doubles : four, 0);
        },
        "rank 1 calls broadcast from rank 0 of float32 [4], but rank 2 calls broadcast from rank 0 of "
        "float64 [4]",
        "rank 0 calls broadcast from rank 0 of float32 [4], but rank 2 calls broadcast from rank 0 of "
        "float64 [4]");
  }
  SECTION("root") {
    check(
        [&](ProcessGroup& self, int rank) {
          if (rank == 0) std::this_thread::sleep_for(std::chrono::milliseconds(20));
          self.broadcast(four, rank == 2 ? 1 : 0);
        },
        "rank 1 calls broadcast from rank 0 of float32 [4], but rank 2 calls broadcast from rank 1 of "
        "float32 [4]",
        "rank 0 calls broadcast from rank 0 of float32 [4], but rank 2 calls broadcast from rank 1 of "
        "float32 [4]");
  }
}

TEST_CASE("a send that meets no receive of its kind is refused on both ends") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  if (!implementation.compares_calls) return;
  CAPTURE(implementation.name);
  const Group group = implementation.make(2);
  const bool second_first = GENERATE(false, true);
  const auto check = [&](const std::function<void(ProcessGroup&)>& zero,
                         const std::function<void(ProcessGroup&)>& one, const std::string& message) {
    const auto thrown = run_ranks(2, [&](int rank) {
      if ((rank == 0) == second_first) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      (rank == 0 ? zero : one)(*group[at(rank)]);
    });
    for (const auto& each : thrown) CHECK(said(each) == "RunError: process group: " + message);
  };
  Tensor x = make_tensor({4}, DType::f32), y = make_tensor({5}, DType::f32);
  SECTION("shape") {
    check([&](ProcessGroup& self) { self.send(x, 1); }, [&](ProcessGroup& self) { self.receive(y, 0); },
          "rank 0 calls send to rank 1 of float32 [4], but rank 1 calls receive from rank 0 of float32 [5]");
  }
  SECTION("both send") {
    check([&](ProcessGroup& self) { self.send(x, 1); }, [&](ProcessGroup& self) { self.send(x, 0); },
          "rank 0 calls send to rank 1 of float32 [4], but rank 1 calls send to rank 0 of float32 [4]");
  }
  SECTION("both receive") {
    check([&](ProcessGroup& self) { self.receive(x, 1); }, [&](ProcessGroup& self) { self.receive(y, 0); },
          "rank 0 calls receive from rank 1 of float32 [4], but rank 1 calls receive from rank 0 of float32 "
          "[5]");
  }
  SECTION("a collective") {
    check([&](ProcessGroup& self) { self.send(x, 1); }, [&](ProcessGroup& self) { self.barrier(); },
          "rank 0 calls send to rank 1 of float32 [4], but rank 1 calls barrier");
  }
}

TEST_CASE("a collective may begin while two others still send") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  const Group group = implementation.make(4);
  std::vector<Tensor> x = random_tensors(4, {8}, DType::f32, "mixed");
  CHECK(complaint(run_ranks(4, [&](int rank) {
          Tensor buffer = make_tensor({8}, DType::f32);
          if (rank == 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));
          if (rank == 1) group[1]->send(x[1], 2);
          if (rank == 2) group[2]->receive(buffer, 1);
          group[at(rank)]->barrier();
        })) == "");
}

TEST_CASE("wrong arguments are a programmer's error on the rank that has them") {
  const Group group = make_in_process_group(2);
  Tensor x = make_tensor({4}, DType::i32), y = make_tensor({3}, DType::f32), z = make_tensor({4}, DType::f32);
  const Tensor matrix = make_tensor({4, 4}, DType::f32);
  Tensor columns = matrix.columns(0, 2), empty;
  CHECK_THROWS_AS(group[0]->all_reduce_sum(x), std::logic_error);
  CHECK_THROWS_AS(group[0]->all_reduce_sum(columns), std::logic_error);
  CHECK_THROWS_AS(group[0]->all_reduce_sum(empty), std::logic_error);
  CHECK_THROWS_AS(group[0]->reduce_scatter_sum(z, y), std::logic_error);
  CHECK_THROWS_AS(group[0]->all_gather(y, z), std::logic_error);
  CHECK_THROWS_AS(group[0]->all_to_all(y, y), std::logic_error);
  CHECK_THROWS_AS(group[0]->all_to_all(z, z), std::logic_error);
  CHECK_THROWS_AS(group[0]->broadcast(z, 2), std::logic_error);
  CHECK_THROWS_AS(group[0]->send(z, 0), std::logic_error);
  CHECK_THROWS_AS(group[0]->receive(z, -1), std::logic_error);
  CHECK_THROWS_AS(make_in_process_group(0), std::logic_error);
  // Nothing of that took part in anything.
  CHECK(complaint(run_ranks(2, [&](int rank) { group[at(rank)]->barrier(); })) == "");
}

TEST_CASE("rows and columns of a grid of threads are groups of their own") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  constexpr int rows = 3, columns = 2, rounds = 30;
  std::vector<Group> row_groups, column_groups;
  for (int r = 0; r < rows; ++r) row_groups.push_back(implementation.make(columns));
  for (int c = 0; c < columns; ++c) column_groups.push_back(implementation.make(rows));
  std::vector<Tensor> x = random_tensors(rows * columns, {33}, DType::f32, "grid");
  std::vector<Bytes> expected = all_bytes(x);
  for (int round = 0; round < rounds; ++round) {
    const auto reduce = [&](const std::vector<int>& members) {
      std::vector<Bytes> in;
      for (const int member : members) in.push_back(expected[at(member)]);
      const Bytes sum = oracle_sum(DType::f32, in);
      for (const int member : members) expected[at(member)] = sum;
    };
    for (int r = 0; r < rows; ++r) reduce({2 * r, 2 * r + 1});
    for (int c = 0; c < columns; ++c) reduce({c, c + 2, c + 4});
  }
  CHECK(complaint(run_ranks(rows * columns, [&](int thread) {
          const int row = thread / columns, column = thread % columns;
          for (int round = 0; round < rounds; ++round) {
            row_groups[at(row)][at(column)]->all_reduce_sum(x[at(thread)]);
            column_groups[at(column)][at(row)]->all_reduce_sum(x[at(thread)]);
          }
        })) == "");
  CHECK(all_bytes(x) == expected);
}

TEST_CASE("a hundred repetitions give the same bits") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  constexpr int size = 4;
  const Group group = implementation.make(size);
  const std::vector<Tensor> in = random_tensors(size, {4001}, DType::f32, "repeat");
  const Bytes expected = oracle_sum(DType::f32, all_bytes(in));
  int different = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<Tensor> x = empty_tensors(size, {4001}, DType::f32);
    CHECK(complaint(run_ranks(size, [&](int rank) {
            set_bytes(x[at(rank)], bytes_of(in[at(rank)]));
            group[at(rank)]->all_reduce_sum(x[at(rank)]);
          })) == "");
    for (const Tensor& tensor : x) different += bytes_of(tensor) != expected;
  }
  CHECK(different == 0);
}

TEST_CASE("many more threads than cores") {
  const Implementation implementation = GENERATE(from_range(implementations()));
  constexpr int rounds = 20;
  const int size = std::min(32, implementation.most_ranks);
  const Group group = implementation.make(size);
  std::vector<Tensor> x = random_tensors(size, {16}, DType::f64, "crowd");
  std::vector<Bytes> expected = all_bytes(x);
  for (int round = 0; round < rounds; ++round) expected.assign(at(size), oracle_sum(DType::f64, expected));
  CHECK(complaint(run_ranks(size, [&](int rank) {
          ProcessGroup& self = *group[at(rank)];
          for (int round = 0; round < rounds; ++round) {
            self.all_reduce_sum(x[at(rank)]);
            // Neighbours exchange something in between.
            Tensor message = make_tensor({1}, DType::i32);
            if (rank % 2 == 0) self.send(message, rank + 1);
            if (rank % 2 == 1) self.receive(message, rank - 1);
          }
        })) == "");
  CHECK(all_bytes(x) == expected);
}

TEST_CASE("a sum in rank order does not depend on how its range is cut") {
  const std::vector<Tensor> x = random_tensors(5, {5000}, DType::f32, "cut");
  const Bytes expected = oracle_sum(DType::f32, all_bytes(x));
  std::vector<const std::byte*> in;
  for (const Tensor& tensor : x) in.push_back(static_cast<const std::byte*>(tensor.raw()));
  for (const int64_t step : {1, 7, 1024, 4999, 5000}) {
    const Tensor out = make_tensor({5000}, DType::f32);
    std::byte* const target = static_cast<std::byte*>(out.raw());
    for (int64_t begin = 0; begin < 5000; begin += step)
      comm::sum_in_rank_order(DType::f32, in, {&target, 1}, begin, std::min<int64_t>(begin + step, 5000));
    CHECK(bytes_of(out) == expected);
  }
}
