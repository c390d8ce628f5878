#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_tokens(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "tokens";
  source.labels = "labels";
  read_data(folder, "ids.jsonl", contents, source);
}

}  // namespace collie::test
