#include "io/jinja/runtime.hpp"

#include "io/jinja/objects.hpp"
#include "io/jinja/problem.hpp"

namespace collie::jinja {

void Runtime::charge(size_t steps) {
  if (steps > static_cast<size_t>(steps_left_))
    throw Problem("the template takes more than {} steps; does one of its loops grow what it reads?",
                  most_steps);
  steps_left_ -= static_cast<int64_t>(steps);
}

Runtime::~Runtime() {
  for (const auto& space : namespaces_) space->clear();
}

std::shared_ptr<Namespace> Runtime::make_namespace() {
  charge(10);
  return namespaces_.emplace_back(std::make_shared<Namespace>());
}

Level::Level(int& depth, int most, std::string_view what) : depth_(depth) {
  if (depth >= most) throw Problem("more than {} {} are one inside the other", most, what);
  ++depth_;
}

}  // namespace collie::jinja
