#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_text(const std::string& folder, const std::string& contents) {
  read_data(folder, "a.txt", contents, {});
}

}  // namespace collie::test
