// Measures links and groups between processes on the loopback interface, next to a raw TCP socket and the
// group of threads. Also measures links of two threads over Gloo and as messages over TLS. bench_comm [KiB
// per message | links]
#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <functional>

#include "comm/gloo_link.hpp"
#include "comm/linked_process_group.hpp"
#include "tests/comm/key_stores.hpp"
#include "tests/comm/rank_processes.hpp"
#include "tests/links/message_links.hpp"

namespace collie {
namespace {

using test::RankSelf;

constexpr int repetitions = 11;
constexpr int64_t kibi = 1 << 10, mebi = 1 << 20;

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Timing {
  double median_s = 0, best_s = 0;
};

// `prepare` is not timed; the first repetition does not count.
Timing time_of(const std::function<void()>& prepare, const std::function<void()>& work) {
  std::vector<double> seconds;
  for (int i = 0; i <= repetitions; ++i) {
    prepare();
    const double start = now_s();
    work();
    if (i > 0) seconds.push_back(now_s() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  return {seconds[seconds.size() / 2], seconds.front()};
}

Tensor bytes_tensor(int64_t bytes) {
  static const auto account = std::make_shared<MemoryAccount>();
  Tensor x = Tensor::host({bytes / 4}, DType::f32, account, Category::communication);
  std::fill(x.data<float>(), x.data<float>() + x.numel(), 1.0F);
  return x;
}

std::string line(const std::string& what, const Timing& timing, double gigabytes) {
  const std::string rate = gigabytes > 0 ? fmt::format("{:6.2f} GB/s", gigabytes / timing.median_s) : "";
  return fmt::format("{:44} median {:10.3f} ms, best {:10.3f} ms {}\n", what, timing.median_s * 1e3,
                     timing.best_s * 1e3, rate);
}

// Ranks 0 and 1 send until the receiver has said that it has everything.
std::string time_sends(ProcessGroup& self) {
  std::string report;
  for (const int64_t bytes : {4 * kibi, 64 * kibi, mebi, 16 * mebi, 64 * mebi}) {
    Tensor x = bytes_tensor(bytes), acknowledgement = bytes_tensor(4);
    const Timing timing = time_of([&] { self.barrier(); },
                                  [&] {
                                    if (self.rank() == 0) {
                                      self.send(x, 1);
                                      self.receive(acknowledgement, 1);
                                    } else if (self.rank() == 1) {
                                      self.receive(x, 0);
                                      self.send(acknowledgement, 0);
                                    }
                                  });
    report += line(fmt::format("send {} KiB, acknowledged", bytes / kibi), timing,
                   static_cast<double>(bytes) * 1e-9);
  }
  return report;
}

std::string time_collectives(ProcessGroup& self) {
  std::string report;
  const int64_t whole = 64 * mebi;
  Tensor x = bytes_tensor(whole), part = bytes_tensor(whole / self.size()), y = bytes_tensor(whole);
  Tensor words = bytes_tensor(64), page = bytes_tensor(4096);
  const auto time = [&](const std::string& what, const std::function<void()>& work) {
    report += line(what, time_of([&] { self.barrier(); }, work), 0);
  };
  time("all_reduce_sum 64 MiB", [&] { self.all_reduce_sum(x); });
  time("reduce_scatter_sum 64 MiB in", [&] { self.reduce_scatter_sum(x, part); });
  time("all_gather 64 MiB out", [&] { self.all_gather(part, x); });
  time("all_to_all 64 MiB", [&] { self.all_to_all(x, y); });
  time("broadcast 64 MiB", [&] { self.broadcast(x, 0); });
  time("100 all_reduce_sum 64 B", [&] {
    for (int i = 0; i < 100; ++i) self.all_reduce_sum(words);
  });
  time("100 all_reduce_sum 4 KiB", [&] {
    for (int i = 0; i < 100; ++i) self.all_reduce_sum(page);
  });
  time("100 barriers", [&] {
    for (int i = 0; i < 100; ++i) self.barrier();
  });
  return report;
}

// A socket with the settings that Gloo uses, and nothing else.
int connected_socket(int rank, comm::KeyStore& store) {
  const int one = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  if (rank == 0) {
    COLLIE_ASSERT(bind(one, any, length) == 0 && listen(one, 1) == 0, "bind");
    getsockname(one, any, &length);
    const auto* const port = reinterpret_cast<const char*>(&address.sin_port);
    store.set("port", {port, port + sizeof(address.sin_port)});
    return accept(one, nullptr, nullptr);
  }
  const auto port = store.get("port", std::chrono::seconds(10));
  COLLIE_ASSERT(port.has_value(), "no port");
  std::copy(port->begin(), port->end(), reinterpret_cast<char*>(&address.sin_port));
  COLLIE_ASSERT(connect(one, any, length) == 0, "connect");
  return one;
}

void transfer(int socket, const Tensor& x, bool sends) {
  auto* at = static_cast<char*>(x.raw());
  for (size_t left = x.bytes(); left > 0;) {
    const ssize_t moved = sends ? write(socket, at, left) : read(socket, at, left);
    COLLIE_ASSERT(moved > 0, "the socket has ended");
    at += moved;
    left -= static_cast<size_t>(moved);
  }
}

std::string time_raw(int rank, comm::KeyStore& store) {
  std::string report;
  const int socket = connected_socket(rank, store);
  for (const int64_t mib : {1, 16, 64}) {
    const Tensor x = bytes_tensor(mib * mebi), acknowledgement = bytes_tensor(4);
    const Timing timing = time_of([] {},
                                  [&] {
                                    transfer(socket, x, rank == 0);
                                    transfer(socket, acknowledgement, rank != 0);
                                  });
    report += line(fmt::format("raw TCP {} MiB, acknowledged", mib), timing,
                   static_cast<double>(mib * mebi) * 1e-9);
  }
  close(socket);
  return report;
}

void be_a_rank(const RankSelf& self) {
  test::FileStore store(self.folder);
  comm::GlooOptions options;
  options.rank = self.rank;
  options.size = self.size;
  if (const char* kibibytes = getenv("COLLIE_BENCH_KIB")) options.most_bytes = std::stoul(kibibytes) * 1024;
  std::string report;
  if (self.size == 2) report += time_raw(self.rank, store);
  std::vector<int> everybody;
  for (int rank = 0; rank < self.size; ++rank) everybody.push_back(rank);
  const double start = now_s();
  const auto link = comm::connect_gloo(options, store);
  report += fmt::format("{:44} {:17.3f} ms\n", "connecting", (now_s() - start) * 1e3);
  const auto group = make_linked_group(link, everybody, 0, std::make_shared<MemoryAccount>());
  if (self.size == 2) report += time_sends(*group);
  report += time_collectives(*group);
  group->barrier();
  if (self.rank == 0) test::write_file(self.folder / "report", report);
}

void time_threads(int size) {
  const auto group = make_in_process_group(size);
  std::vector<std::thread> threads;
  std::string report;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      const std::string own = time_collectives(*group[static_cast<size_t>(rank)]);
      if (rank == 0) report = own;
    });
  for (std::thread& thread : threads) thread.join();
  fmt::print("{} threads of one process\n{}", size, report);
}

void time_links() {
  for (const bool encrypted : {false, true}) {
    const auto group = test::make_linked_groups(encrypted ? test::make_tls_message_links(2).links
                                                          : test::make_gloo_links(2));
    std::string report;
    const auto thrown = test::run_ranks(2, [&](int rank) {
      ProcessGroup& self = *group[static_cast<size_t>(rank)];
      const std::string own = time_sends(self) + time_collectives(self);
      if (rank == 0) report = own;
    });
    COLLIE_ASSERT(test::complaint(thrown).empty(), "{}", test::complaint(thrown));
    fmt::print("2 threads, {}\n{}", encrypted ? "messages over TLS" : "Gloo", report);
  }
}

void time_processes(int size) {
  const test::RankFolder folder;
  for (auto& process : test::start_ranks("rank", size, folder.path()))
    COLLIE_ASSERT(process.wait() == 0, "a rank has failed");
  fmt::print("{} processes\n{}", size, test::read_file(folder.path() / "report"));
}

}  // namespace
}  // namespace collie

int main(int argc, char** argv) {
  using namespace collie;
  RankSelf self;
  if (argc > 1 && std::string(argv[1]) == "rank" && self.read()) {
    be_a_rank(self);
    return 0;
  }
  if (argc > 1 && std::string(argv[1]) == "links") {
    time_links();
    return 0;
  }
  if (argc > 1) setenv("COLLIE_BENCH_KIB", argv[1], 1);
  for (const int size : {2, 4}) {
    time_processes(size);
    time_threads(size);
  }
}
