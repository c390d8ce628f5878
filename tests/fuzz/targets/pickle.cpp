#include "tests/fuzz/targets.hpp"
#include "tests/io/torch_archive.hpp"

namespace collie::test {

// The contents are the pickle; the archive and two storages of six numbers are put around it.
void read_pickle(const std::string& folder, const std::string& contents) {
  const std::string six = floats({0, 1, 2, 3, 4, 5});
  read_torch_file(folder, torch_file(contents, {six, six}));
}

}  // namespace collie::test
