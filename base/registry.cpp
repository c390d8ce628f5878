#include "base/registry.hpp"

namespace collie {

namespace {
thread_local int new_names_only = 0;
}

NewNamesOnly::NewNamesOnly() {
  ++new_names_only;
}

NewNamesOnly::~NewNamesOnly() {
  --new_names_only;
}

bool NewNamesOnly::wanted() {
  return new_names_only > 0;
}

}  // namespace collie
