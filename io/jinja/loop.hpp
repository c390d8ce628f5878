// The variable "loop" of a for block.
#pragma once

#include <functional>
#include <vector>

#include "io/jinja/arguments.hpp"
#include "io/jinja/value.hpp"

namespace collie::jinja {

class Loop : public Object {
 public:
  using Keep = std::function<bool(const Value&)>;  // the condition of the loop, or empty
  using Recurse = std::function<Value(const Value& items, int64_t depth)>;  // of a recursive loop, or empty

  // `depth` is 0 for the outermost of recursive loops.
  Loop(std::vector<Value> items, Keep keep, Recurse recurse, int64_t depth);

  // Moves to the next item that is kept. The condition is asked as late as Jinja2 asks it.
  bool advance();
  const Value& item() const { return kept_[static_cast<size_t>(index_)]; }
  // Drops what the loop holds. What asks for items afterwards is refused.
  void finish();

  std::string_view type_name() const override { return "LoopContext"; }
  std::optional<Value> attribute(std::string_view name) override;
  bool is_callable() const override { return static_cast<bool>(recurse_); }
  Value call(Runtime& runtime, const Arguments& arguments) override;

 private:
  bool has(int64_t index);  // whether there is a kept item of this index
  int64_t length();
  Value item_or_undefined(int64_t index, const char* reason);
  Value cycle_function();
  Value changed_function();

  std::vector<Value> items_;
  size_t read_ = 0;  // items that were asked about
  std::vector<Value> kept_;
  Keep keep_;
  Recurse recurse_;
  int64_t depth_;
  int64_t index_ = -1;
  // What changed() was given last. It is refused after the loop's end, so that functions cannot hold each
  // other.
  struct Changed {
    bool finished = false;
    std::optional<std::vector<Value>> last;
  };
  std::shared_ptr<Changed> changed_ = std::make_shared<Changed>();
};

}  // namespace collie::jinja
