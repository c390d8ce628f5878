#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_jsonl(const std::string& folder, const std::string& contents) {
  DataSource source;
  source.format = "jsonl";
  source.prompt = "question";
  source.completion = "answer";
  read_data(folder, "chat.jsonl", contents, source);
}

}  // namespace collie::test
