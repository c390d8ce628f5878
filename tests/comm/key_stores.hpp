// Where the ranks of tests meet: in memory for threads, in a folder for processes.
#pragma once

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "comm/key_store.hpp"

namespace collie::test {

class MemoryStore : public comm::KeyStore {
 public:
  void set(const std::string& key, const std::vector<char>& value) override {
    const std::lock_guard lock(mutex_);
    values_[key] = value;
    changed_.notify_all();
  }
  std::optional<std::vector<char>> get(const std::string& key, std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, timeout, [&] { return values_.count(key) > 0; })) return std::nullopt;
    return values_[key];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, std::vector<char>> values_;
};

class FileStore : public comm::KeyStore {
 public:
  explicit FileStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  void set(const std::string& key, const std::vector<char>& value) override {
    const std::filesystem::path path = folder_ / ("key " + key), part = folder_ / ("part " + key);
    std::ofstream(part, std::ios::binary).write(value.data(), static_cast<std::streamsize>(value.size()));
    std::filesystem::rename(part, path);
  }
  std::optional<std::vector<char>> get(const std::string& key, std::chrono::milliseconds timeout) override {
    const std::filesystem::path path = folder_ / ("key " + key);
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (!std::filesystem::exists(path)) {
      if (std::chrono::steady_clock::now() >= deadline) return std::nullopt;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::ifstream file(path, std::ios::binary);
    return std::vector<char>(std::istreambuf_iterator<char>(file), {});
  }

 private:
  std::filesystem::path folder_;
};

}  // namespace collie::test
