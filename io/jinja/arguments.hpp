// The arguments of calls, filters and tests, and functions that are written in C++.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/jinja/value.hpp"

namespace collie::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;  // each name once
};

// Which arguments a function takes.
struct Signature {
  std::vector<std::string_view> names;
  size_t required = 0;
  bool by_name = true;  // Python's str methods take most arguments by position only
};

// The arguments in the order of the signature's names; those that were not given are empty. Throws Problem
// naming `function` for too many, missing, unknown or doubled ones.
std::vector<std::optional<Value>> bind_arguments(std::string_view function, const Signature& signature,
                                                 const Arguments& arguments);

// The parts of arguments. They throw Problem naming `what` for the wrong type.
int64_t integer_argument(const Value& value, std::string_view what);
const std::string& text_argument(const Value& value, std::string_view what);

// A function as a value.
class Function : public Object {
 public:
  using Body = std::function<Value(Runtime&, const Arguments&)>;
  Function(std::string name, int depth, Body body)
      : name_(std::move(name)), depth_(depth), body_(std::move(body)) {}
  std::string_view type_name() const override { return "function"; }
  int depth() const override { return depth_; }
  bool is_callable() const override { return true; }
  Value call(Runtime& runtime, const Arguments& arguments) override { return body_(runtime, arguments); }

 private:
  std::string name_;
  int depth_;
  Body body_;
};

Value make_function(std::string name, Function::Body body);
// A function whose body holds `self`.
Value make_method(const Value& self, std::string name, Function::Body body);

}  // namespace collie::jinja
