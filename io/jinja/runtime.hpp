// What one rendering shares: its limits, its clock, and the line that is being evaluated.
#pragma once

#include <ctime>
#include <memory>
#include <string_view>
#include <vector>

#include "io/jinja/limits.hpp"

namespace collie::jinja {

class Namespace;

class Runtime {
 public:
  explicit Runtime(std::tm now) : now_(now) {}
  ~Runtime();  // empties the namespaces, which may hold each other
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // Counts work. Throws Problem when a template has done too much.
  void charge(size_t steps);
  void charge_bytes(size_t bytes) { charge(1 + bytes / 32); }

  const std::tm& now() const { return now_; }

  std::shared_ptr<Namespace> make_namespace();

  int line = 0;         // of the node that is being evaluated
  int depth = 0;        // nodes that are being evaluated
  int macro_depth = 0;  // macros that are being called

 private:
  std::tm now_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  int64_t steps_left_ = most_steps;
};

// Counts one more level of `depth` for its own lifetime. Throws Problem beyond `most`.
class Level {
 public:
  Level(int& depth, int most, std::string_view what);
  ~Level() { --depth_; }
  Level(const Level&) = delete;
  Level& operator=(const Level&) = delete;

 private:
  int& depth_;
};

}  // namespace collie::jinja
