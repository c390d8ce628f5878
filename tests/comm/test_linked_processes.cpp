// Groups whose ranks are processes of their own.
#include <chrono>

#include "tests/catch.hpp"
#include "tests/comm/key_stores.hpp"
#include "tests/comm/linked_groups.hpp"
#include "tests/comm/rank_processes.hpp"

using namespace collie;
using namespace collie::test;

namespace {

double now_s() {  // of one clock for all processes
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::shared_ptr<ProcessGroup> join(const RankSelf& self, size_t most_bytes) {
  FileStore store(self.folder);
  comm::GlooOptions options;
  options.rank = self.rank;
  options.size = self.size;
  options.most_bytes = most_bytes;
  return make_linked_group(comm::connect_gloo(options, store), everybody(self.size), 0,
                           std::make_shared<MemoryAccount>());
}

// Every operation at sizes that travel with their header, in one piece and in several; everything that comes
// out.
std::string all_operations(ProcessGroup& self) {
  std::string results;
  const auto keep = [&](const Tensor& x) {
    const Bytes bytes = bytes_of(x);
    results.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  uint64_t key = static_cast<uint64_t>(self.rank());
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const int64_t rows : {0, 1, 700, 7'000}) {
      const auto input = [&](const Shape& shape) { return random_tensor(shape, dtype, key += 100); };
      const int64_t n = self.size();
      Tensor x = input({rows, 3}), many = input({n * rows, 3}), part = make_tensor({rows, 3}, dtype),
             out = make_tensor({n * rows, 3}, dtype);
      self.all_reduce_sum(x);
      keep(x);
      self.reduce_scatter_sum(many, part);
      keep(part);
      self.all_gather(part, out);
      keep(out);
      self.all_to_all(many, out);
      keep(out);
      self.broadcast(x = input({rows, 3}), self.size() - 1);
      keep(x);
      if (self.rank() > 0) self.receive(x, self.rank() - 1);
      if (self.rank() + 1 < self.size()) self.send(x, self.rank() + 1);
      keep(x);
      self.barrier();
    }
  }
  return results;
}

// What a rank threw, and when it did.
struct Outcome {
  std::string text;
  double when_s = 0;
};

Outcome outcome(const std::filesystem::path& folder, int rank) {
  const std::string text = read_file(folder / ("thrown " + std::to_string(rank)));
  const size_t end = text.find(' ');
  if (end == text.npos) return {};
  return {text.substr(end + 1), std::stod(text.substr(0, end))};
}

}  // namespace

TEST_CASE("rank process: all operations", "[.][rank]") {
  RankSelf self;
  if (!self.read()) return;
  write_file(self.file("results"), all_operations(*join(self, 1 << 14)));
}

TEST_CASE("rank process: large sums without end", "[.][rank]") {
  RankSelf self;
  if (!self.read()) return;
  const auto group = join(self, 1 << 20);
  Tensor x = make_tensor({16 << 20}, DType::f32);  // 64 MiB
  std::fill(x.data<float>(), x.data<float>() + x.numel(), 0.0F);
  try {
    for (int round = 0;; ++round) {
      group->all_reduce_sum(x);
      if (round == 0) write_file(self.file("begun"), "");
    }
  } catch (const std::exception&) {
    write_file(self.file("thrown"), fmt::format("{:.3f} {}", now_s(), said(std::current_exception())));
  }
}

TEST_CASE("two and four processes give bitwise what ranks in one process give") {
  const int size = GENERATE(2, 4);
  CAPTURE(size);
  const RankFolder folder;
  auto processes = start_ranks("rank process: all operations", size, folder.path());
  std::vector<std::string> expected(static_cast<size_t>(size));
  const Group group = make_in_process_group(size);
  CHECK(complaint(run_ranks(size, [&](int rank) {
          expected[static_cast<size_t>(rank)] = all_operations(*group[static_cast<size_t>(rank)]);
        })) == "");
  for (int rank = 0; rank < size; ++rank) {
    CAPTURE(rank);
    CHECK(processes[static_cast<size_t>(rank)].wait() == 0);
    const bool same =
        read_file(folder.path() / ("results " + std::to_string(rank))) == expected[static_cast<size_t>(rank)];
    CHECK(same);
  }
}

TEST_CASE("rank process: aborts while a peer is silent", "[.][rank]") {
  RankSelf self;
  if (!self.read()) return;
  const auto group = join(self, 1 << 20);
  group->barrier();
  write_file(self.file("begun"), "");
  if (self.rank == 1) std::this_thread::sleep_for(std::chrono::minutes(1));  // the parent stops and kills it
  if (!appears(self.folder / "stopped")) return;
  const double begun_s = now_s();
  for (int i = 0; i < 20; ++i) group->abort("enough");
  write_file(self.file("aborted after"), fmt::format("{:.3f}", now_s() - begun_s));
}

TEST_CASE("however often a link is aborted whose peer has stopped, the wait for it is one") {
  const RankFolder folder;
  auto processes = start_ranks("rank process: aborts while a peer is silent", 2, folder.path());
  for (const int rank : {0, 1}) REQUIRE(appears(folder.path() / fmt::format("begun {}", rank)));
  processes[1].signal(SIGSTOP);
  write_file(folder.path() / "stopped", "");
  REQUIRE(appears(folder.path() / "aborted after 0"));
  CHECK(std::stod(read_file(folder.path() / "aborted after 0")) < 2);
}

TEST_CASE("a rank that is killed in the middle of a large sum is named by all others within 5 s", "[slow]") {
  const int size = GENERATE(2, 4);
  const int delay_ms = GENERATE(0, 13);
  CAPTURE(size, delay_ms);
  const RankFolder folder;
  auto processes = start_ranks("rank process: large sums without end", size, folder.path());
  for (int rank = 0; rank < size; ++rank) REQUIRE(appears(folder.path() / ("begun " + std::to_string(rank))));
  std::this_thread::sleep_for(std::chrono::milliseconds(delay_ms));
  const double killed_s = now_s();
  processes[1].signal(SIGKILL);
  for (int rank = 0; rank < size; ++rank) {
    if (rank == 1) continue;
    CAPTURE(rank);
    CHECK(processes[static_cast<size_t>(rank)].wait() == 0);
    const Outcome found = outcome(folder.path(), rank);
    INFO("threw after " << found.when_s - killed_s << " s: " << found.text);
    CHECK(found.text.find("RunError: rank 1 (127.0.0.1) is gone: ") == 0);
    CHECK(found.when_s - killed_s < 5);
  }
}
