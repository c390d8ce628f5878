// What the tests of groups share. Catch's assertions are not thread-safe: ranks collect, the test's thread
// checks.
#pragma once

#include <chrono>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "comm/process_group.hpp"

namespace collie::test {

using Group = std::vector<std::shared_ptr<ProcessGroup>>;
using Bytes = std::vector<std::byte>;

inline size_t at(int rank) {
  return static_cast<size_t>(rank);
}

inline double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline void sleep_ms(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

inline Tensor make_tensor(const Shape& shape, DType dtype) {
  static const auto account = std::make_shared<MemoryAccount>();
  return Tensor::host(shape, dtype, account, Category::communication);
}

inline Bytes bytes_of(const Tensor& x) {
  Bytes bytes(x.bytes());
  if (!bytes.empty()) std::memcpy(bytes.data(), x.raw(), bytes.size());
  return bytes;
}

inline void set_bytes(const Tensor& x, const Bytes& bytes) {
  if (!bytes.empty()) std::memcpy(x.raw(), bytes.data(), bytes.size());
}

// Numbers of very different sizes, so that the order of a sum shows in its bits.
template <class T>
void fill(T* data, int64_t count, uint64_t key) {
  const RandomStream stream(key);
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<uint64_t>(i);
    const double size = stream.below(2, 2 * at) == 0 ? 1 : 1e5;
    data[i] = static_cast<T>(size * stream.normal(2 * at + 1000));
  }
}

inline Tensor random_tensor(const Shape& shape, DType dtype, uint64_t key) {
  Tensor x = make_tensor(shape, dtype);
  if (dtype == DType::f32) fill(x.data<float>(), x.numel(), key);
  if (dtype == DType::f64) fill(x.data<double>(), x.numel(), key);
  if (dtype == DType::i32) fill(x.data<int32_t>(), x.numel(), key);
  if (dtype == DType::bf16) fill(static_cast<int16_t*>(x.raw()), x.numel(), key);
  return x;
}

// Runs rank(0) .. rank(size - 1), each on a thread of its own; what each threw, or null.
inline std::vector<std::exception_ptr> run_ranks(int size, const std::function<void(int)>& rank) {
  std::vector<std::exception_ptr> thrown(static_cast<size_t>(size));
  std::vector<std::thread> threads;
  for (int r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      try {
        rank(r);
      } catch (...) {
        thrown[static_cast<size_t>(r)] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

// "" for none, else the kind and the message.
inline std::string said(const std::exception_ptr& thrown) {
  if (!thrown) return "";
  try {
    std::rethrow_exception(thrown);
  } catch (const Aborted& error) {
    return std::string("Aborted: ") + error.what();
  } catch (const RunError& error) {
    return std::string("RunError: ") + error.what();
  } catch (const std::logic_error& error) {
    return std::string("logic_error: ") + error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
}

// The first thing that any rank threw, for CHECK(complaint(run_ranks(...)) == "").
inline std::string complaint(const std::vector<std::exception_ptr>& thrown) {
  for (size_t rank = 0; rank < thrown.size(); ++rank)
    if (thrown[rank]) return "rank " + std::to_string(rank) + ": " + said(thrown[rank]);
  return "";
}

}  // namespace collie::test
