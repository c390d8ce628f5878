#include "io/config.hpp"

#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_config(const std::string& folder, const std::string& contents) {
  std::vector<std::string> warnings;
  const Config config = load_config(put(folder, "c.yaml", contents), {}, warnings);
  must(parse_config(to_yaml(config)) == config, "the configuration that was accepted is written as another");
}

}  // namespace collie::test
