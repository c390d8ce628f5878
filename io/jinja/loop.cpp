#include "io/jinja/loop.hpp"

#include "io/jinja/problem.hpp"

namespace collie::jinja {

Loop::Loop(std::vector<Value> items, Keep keep, Recurse recurse, int64_t depth)
    : items_(std::move(items)), keep_(std::move(keep)), recurse_(std::move(recurse)), depth_(depth) {}

bool Loop::has(int64_t index) {
  if (changed_->finished)
    throw Problem("a loop is asked for its items after its end, which is not supported");
  for (; static_cast<int64_t>(kept_.size()) <= index && read_ < items_.size(); ++read_)
    if (!keep_ || keep_(items_[read_])) kept_.push_back(items_[read_]);
  return index < static_cast<int64_t>(kept_.size());
}

bool Loop::advance() {
  if (!has(index_ + 1)) return false;
  ++index_;
  return true;
}

void Loop::finish() {
  changed_->finished = true;
  items_.clear();
  kept_.clear();
  keep_ = nullptr;
  recurse_ = nullptr;
  changed_->last.reset();
}

int64_t Loop::length() {
  has(static_cast<int64_t>(items_.size()));
  return static_cast<int64_t>(kept_.size());
}

Value Loop::item_or_undefined(int64_t index, const char* reason) {
  return index >= 0 && has(index) ? kept_[static_cast<size_t>(index)] : undefined(reason);
}

std::optional<Value> Loop::attribute(std::string_view name) {
  if (name == "index") return index_ + 1;
  if (name == "index0") return index_;
  if (name == "first") return index_ == 0;
  if (name == "last") return !has(index_ + 1);
  if (name == "length") return length();
  if (name == "revindex") return length() - index_;
  if (name == "revindex0") return length() - index_ - 1;
  if (name == "depth") return depth_ + 1;
  if (name == "depth0") return depth_;
  if (name == "previtem") return item_or_undefined(index_ - 1, "there is no previous item");
  if (name == "nextitem") return item_or_undefined(index_ + 1, "there is no next item");
  if (name == "cycle") return cycle_function();
  if (name == "changed") return changed_function();
  return std::nullopt;
}

Value Loop::cycle_function() {
  return make_function("cycle", [index = index_](Runtime&, const Arguments& arguments) -> Value {
    if (arguments.positional.empty()) throw Problem("loop.cycle() gets no values to choose from");
    return arguments.positional[static_cast<size_t>(index) % arguments.positional.size()];
  });
}

Value Loop::changed_function() {
  return make_function(
      "changed", [changed = changed_](Runtime& runtime, const Arguments& arguments) -> Value {
        if (changed->finished)
          throw Problem("loop.changed() is called after the loop's end, which is not supported");
        if (changed->last && equal(runtime, make_tuple(*changed->last), make_tuple(arguments.positional)))
          return false;
        changed->last = arguments.positional;
        return true;
      });
}

Value Loop::call(Runtime&, const Arguments& arguments) {
  if (!recurse_)
    throw Problem("a loop is called that is not recursive; write 'recursive' behind what it loops over");
  const auto bound = bind_arguments("loop()", {{"iterable"}, 1}, arguments);
  return recurse_(*bound[0], depth_ + 1);
}

}  // namespace collie::jinja
