#include "io/json_records.hpp"

#include <algorithm>

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

JsonRecord::JsonRecord(std::string place, std::string_view text)
    : place_(std::move(place)), value_(parse_ordered_json(text, place_)) {
  if (!value_.is_object())
    throw UserError("{}: it must be a JSON object, not {}", place_, in_short(nlohmann::json(value_)));
}

const nlohmann::ordered_json* JsonRecord::find(const std::string& key) const {
  const auto found = value_.find(key);
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::ordered_json& JsonRecord::at(const std::string& key) const {
  const auto found = value_.find(key);
  if (found == value_.end())
    throw UserError("{}: it has no key '{}'; it has: {}", place_, shortened(key), keys());
  return *found;
}

const std::string& JsonRecord::text(const std::string& key) const {
  const nlohmann::ordered_json& value = at(key);
  if (!value.is_string())
    throw UserError("{}: key '{}' must be a string, not {}", place_, shortened(key), value.type_name());
  return value.get_ref<const std::string&>();
}

std::string JsonRecord::keys() const {
  constexpr size_t longest_list = 200;
  std::string all;
  for (const auto& [key, value] : value_.items()) {
    all += (all.empty() ? "'" : ", '") + shortened(key) + "'";
    if (all.size() > longest_list) return all + ", ...";
  }
  return all.empty() ? "none" : all;
}

namespace {

// Far above any real record. Tokenising one takes some ten times its size in memory, and a file whose line
// never ends is a mistake.
constexpr size_t longest_line = size_t{256} << 20;

void use_line(const std::string& place, std::string_view text,
              const std::function<void(const JsonRecord&)>& use) {
  if (text.size() > longest_line)
    throw UserError("{}: the line has {} bytes; a sample of at most {} is wanted, on a line of its own",
                    place, text.size(), longest_line);
  use(JsonRecord(place, text));
}

}  // namespace

void for_each_record(const DataFile& file, const std::function<void(const JsonRecord&)>& use) {
  std::string_view rest = file.text;
  int64_t bad = 0;
  std::string first_bad;
  for (int64_t line = 1; !rest.empty(); ++line) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view text = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      use_line(fmt::format("{}:{}", file.path, line), text, use);
    } catch (const UserError& error) {
      if (++bad > file.max_bad_lines) {
        if (file.max_bad_lines == 0) throw;
        throw UserError("{}; it is bad line {} of this file, and data.max_bad_lines is {}", error.what(), bad,
                        file.max_bad_lines);
      }
      if (first_bad.empty()) first_bad = error.what();
    }
  }
  if (bad > 0)
    log::warn("{}: {} bad lines are left out (data.max_bad_lines: {}); the first: {}", file.path, bad,
              file.max_bad_lines, first_bad);
}

}  // namespace collie
