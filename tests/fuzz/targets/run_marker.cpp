#include "io/run_marker.hpp"

#include "base/error.hpp"
#include "io/json_text.hpp"
#include "io/sealed_json.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/fuzz/targets/support.hpp"

namespace collie::test {

void read_run_marker(const std::string& folder, const std::string& contents) {
  const nlohmann::json marker = parse_json_object(contents, "the marker");
  if (marker.empty() || marker.contains("sha256")) throw UserError("this is no marker without its hash");
  put(folder, marker_name, seal(marker));
  const auto read = read_marker(folder);
  must(read.has_value(), "a marker that is there was not found");
  write_marker(folder, *read);
  must(read_marker(folder) == read, "a marker is written as another");
}

}  // namespace collie::test
