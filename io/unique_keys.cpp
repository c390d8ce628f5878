#include "io/unique_keys.hpp"

#include <unordered_set>
#include <vector>

namespace collie {

nlohmann::json parse_json_with_unique_keys(std::string_view text) {
  using Event = nlohmann::json::parse_event_t;
  std::vector<std::unordered_set<std::string>> open;  // the keys so far of each object that is being read
  return nlohmann::json::parse(text, [&](int, Event event, nlohmann::json& parsed) {
    if (event == Event::object_start) open.emplace_back();
    if (event == Event::object_end) open.pop_back();
    if (event == Event::key) {
      const auto& key = parsed.get_ref<const std::string&>();
      if (!open.back().insert(key).second) throw DuplicateKey(key);
    }
    return true;
  });
}

}  // namespace collie
