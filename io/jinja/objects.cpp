#include "io/jinja/objects.hpp"

#include "io/jinja/problem.hpp"

namespace collie::jinja {

void Namespace::set(const std::string& name, Value value) {
  if (!name.empty() && name[0] == '_')
    throw Problem("'{}' is set on a namespace; names that begin with an underscore are refused there", name);
  entries_.set(name, std::move(value));
}

}  // namespace collie::jinja
