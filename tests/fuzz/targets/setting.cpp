#include "io/config.hpp"
#include "tests/fuzz/targets.hpp"

namespace collie::test {

void read_setting(const std::string&, const std::string& contents) {
  std::vector<std::string> warnings;
  load_config("", {contents}, warnings);
}

}  // namespace collie::test
