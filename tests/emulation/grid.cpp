// Blocks of threads as fibers (Boost.Context) of one processor thread.
#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include <cuda_runtime.h>
#include "tests/emulation/fiber_switch.hpp"

thread_local uint3 threadIdx{}, blockIdx{};
thread_local dim3 blockDim, gridDim;

namespace collie::emulation {

namespace {

namespace context = boost::context;
constexpr unsigned warp_size = 32;
constexpr size_t stack_bytes = 128 * 1024;
std::atomic<bool> backward{false};

enum class State { ready, at_block_barrier, at_warp_barrier, done };

struct Copy {
  void* to;
  const void* from;
  size_t bytes, whole;
};

struct Thread {
  context::fiber fiber;      // where it goes on
  context::fiber scheduler;  // where it gives way to
  Stack stack, scheduler_stack;
  FiberSwitch to_scheduler;
  State state = State::done;
  uint3 index{};
  unsigned exchanges = 0;
  std::vector<Copy> copies;  // not waited for
};

struct Warp {
  unsigned alive = 0, waiting = 0;
  LaneWords slots[2][warp_size] = {};  // by the exchange's parity: a lane is one exchange ahead at most
};

// The block that this processor thread works on.
class Block {
 public:
  void run(dim3 block, size_t shared_bytes, const std::function<void()>& body) {
    body_ = &body;
    count_ = block.x * block.y * block.z;
    shared_.assign((shared_bytes + 15) / 16, {~0ULL, ~0ULL});
    warps_.assign((count_ + warp_size - 1) / warp_size, Warp{});
    alive_ = count_;
    waiting_ = 0;
    while (threads_.size() < count_) threads_.push_back(make_thread());
    for (unsigned i = 0; i < count_; ++i) {
      threads_[i]->state = State::ready;
      threads_[i]->exchanges = 0;
      threads_[i]->copies.clear();
      threads_[i]->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
      ++warps_[i / warp_size].alive;
    }
    while (alive_ > 0) pass();
  }

  void sync_block() {
    Thread& self = *threads_[current_];
    self.state = State::at_block_barrier;
    if (++waiting_ == alive_)
      release_block();
    else
      give_way(self);
  }

  void sync_warp() {
    Thread& self = *threads_[current_];
    Warp& warp = warps_[current_ / warp_size];
    self.state = State::at_warp_barrier;
    if (++warp.waiting == warp.alive)
      release_warp(current_ / warp_size);
    else
      give_way(self);
  }

  const LaneWords* share(uint64_t first, uint64_t second, uint64_t third) {
    const unsigned parity = threads_[current_]->exchanges++ % 2;
    Warp& warp = warps_[current_ / warp_size];
    LaneWords& own = warp.slots[parity][lane()];
    own[0] = first;
    own[1] = second;
    own[2] = third;
    sync_warp();
    return warp.slots[parity];
  }

  void copy_async(const Copy& copy) {
    std::memset(copy.to, 0xFF, copy.whole);
    threads_[current_]->copies.push_back(copy);
  }
  void wait_for_copies() {
    for (const Copy& copy : threads_[current_]->copies) {
      std::memcpy(copy.to, copy.from, copy.bytes);
      std::memset(static_cast<char*>(copy.to) + copy.bytes, 0, copy.whole - copy.bytes);
    }
    threads_[current_]->copies.clear();
  }

  unsigned lane() const { return current_ % warp_size; }
  void* shared() { return shared_.data(); }

 private:
  struct alignas(16) Sixteen {
    uint64_t low, high;
  };

  std::unique_ptr<Thread> make_thread() {
    auto thread = std::make_unique<Thread>();
    Thread* self = thread.get();
    context::fixedsize_stack stacks(stack_bytes);
    const context::stack_context memory = stacks.allocate();
    thread->stack = {static_cast<const char*>(memory.sp) - memory.size, memory.size};
    thread->fiber = context::fiber(std::allocator_arg, context::preallocated(memory.sp, memory.size, memory),
                                   stacks, [this, self](context::fiber&& scheduler) {
                                     self->scheduler = std::move(scheduler);
                                     self->scheduler_stack = self->to_scheduler.back();
                                     while (true) {
                                       (*body_)();
                                       finish(*self);
                                       give_way(*self);
                                     }
                                     return std::move(self->scheduler);
                                   });
    return thread;
  }

  void finish(Thread& self) {
    self.state = State::done;
    if (--alive_ > 0 && waiting_ == alive_) release_block();
    Warp& warp = warps_[current_ / warp_size];
    if (--warp.alive > 0 && warp.waiting == warp.alive) release_warp(current_ / warp_size);
  }

  static void give_way(Thread& self) {
    self.to_scheduler.leave(self.scheduler_stack);
    self.scheduler = std::move(self.scheduler).resume();
    self.scheduler_stack = self.to_scheduler.back();
  }

  // Every warp goes as far as it can before the next one goes on, so that a missing barrier shows: who reads
  // what another warp should have written before finds what was there.
  void pass() {
    bool progress = false;
    const auto warps = static_cast<unsigned>(warps_.size());
    for (unsigned i = 0; i < warps; ++i)
      while (advance(backward.load(std::memory_order_relaxed) ? warps - 1 - i : i)) progress = true;
    if (progress) return;
    std::fprintf(stderr,
                 "a kernel's barrier is never reached by all: block (%u, %u, %u), %u threads alive, %u at "
                 "the block's\n",
                 blockIdx.x, blockIdx.y, blockIdx.z, alive_, waiting_);
    std::abort();
  }

  // Resumes the warp's threads that can go on; whether there were any.
  bool advance(unsigned warp) {
    bool progress = false;
    const unsigned first = warp * warp_size, threads = std::min(count_, first + warp_size) - first;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned index = first + (backward.load(std::memory_order_relaxed) ? threads - 1 - i : i);
      Thread& thread = *threads_[index];
      if (thread.state != State::ready) continue;
      current_ = index;
      threadIdx = thread.index;
      FiberSwitch to_thread;
      to_thread.leave(thread.stack);
      thread.fiber = std::move(thread.fiber).resume();
      to_thread.back();
      progress = true;
    }
    return progress;
  }

  void release_block() {
    waiting_ = 0;
    for (unsigned i = 0; i < count_; ++i)
      if (threads_[i]->state == State::at_block_barrier) threads_[i]->state = State::ready;
  }
  void release_warp(unsigned warp) {
    warps_[warp].waiting = 0;
    for (unsigned i = warp * warp_size; i < std::min(count_, (warp + 1) * warp_size); ++i)
      if (threads_[i]->state == State::at_warp_barrier) threads_[i]->state = State::ready;
  }

  const std::function<void()>* body_ = nullptr;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<Warp> warps_;
  std::vector<Sixteen> shared_;
  unsigned count_ = 0, alive_ = 0, waiting_ = 0, current_ = 0;
};

Block& this_block() {
  return of_this_thread<Block>();
}

}  // namespace

void run_grid(dim3 grid, dim3 block, size_t shared_bytes, const std::function<void()>& body) {
  gridDim = grid;
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x) {
        blockIdx = {x, y, z};
        this_block().run(block, shared_bytes, body);
      }
}

void set_backward_order(bool on) {
  backward.store(on, std::memory_order_relaxed);
}
void sync_block() {
  this_block().sync_block();
}
void sync_warp() {
  this_block().sync_warp();
}
void* shared_memory() {
  return this_block().shared();
}
uint64_t exchange(uint64_t value, unsigned from) {
  return this_block().share(value, 0, 0)[from % warp_size][0];
}
const LaneWords* share(uint64_t first, uint64_t second, uint64_t third) {
  return this_block().share(first, second, third);
}
void copy_async(void* to, const void* from, size_t bytes, size_t whole) {
  this_block().copy_async({to, from, bytes, whole});
}
void wait_for_copies() {
  this_block().wait_for_copies();
}
unsigned lane() {
  return this_block().lane();
}

}  // namespace collie::emulation
