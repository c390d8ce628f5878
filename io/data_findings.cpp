#include "io/data_findings.hpp"

#include <nlohmann/json.hpp>

#include "base/log.hpp"
#include "io/json_text.hpp"

namespace collie {

namespace {

using Kind = DataFindings::Kind;

constexpr std::pair<Kind, const char*> names[] = {
    {Kind::bad_line, "bad lines"},          {Kind::double_bos, "double BOS"},
    {Kind::double_eos, "double EOS"},       {Kind::joined, "joined prompts"},
    {Kind::without_turn, "without a turn"}, {Kind::beside_prompt, "beside the prompt"}};

void say_double(const std::string& path, const char* token, const char* where, const char* key) {
  log::warn(
      "{}: a text {} with the {} token, and one more is added; set {}: false for this source if that is not "
      "meant",
      path, where, token, key);
}

void say_one(const std::string& path, Kind kind, int64_t count, const std::string& first) {
  switch (kind) {
    case Kind::bad_line:
      return log::warn("{}: {} bad lines are left out (data.max_bad_lines); the first: {}", path, count,
                       first);
    case Kind::double_bos:
      return say_double(path, "BOS", "begins", "add_bos");
    case Kind::double_eos:
      return say_double(path, "EOS", "ends", "add_eos");
    case Kind::joined:
      return log::warn(
          "{}: in {} documents a token joins the end of a prompt and the beginning of its completion, so "
          "that "
          "it is no target; the first: {}",
          path, count, first);
    case Kind::without_turn:
      return log::warn("{}: {} conversations have no turn to train on and are left out; the first: {}", path,
                       count, first);
    case Kind::beside_prompt:
      return log::warn(
          "{}: {} turns do not begin with the template's whole generation prompt (perhaps it opens a <think> "
          "that they lack), so they are learnt behind another prompt than generation gives; the first: {}",
          path, count, first);
  }
}

}  // namespace

void DataFindings::add(Kind kind, const std::string& detail) {
  Found& found = found_[kind];
  if (++found.count == 1) found.first = detail;
}

void DataFindings::append(const DataFindings& later) {
  for (const auto& [kind, more] : later.found_) {
    Found& found = found_[kind];
    if (found.count == 0) found.first = more.first;
    found.count += more.count;
  }
}

int64_t DataFindings::count(Kind kind) const {
  const auto found = found_.find(kind);
  return found == found_.end() ? 0 : found->second.count;
}

std::string DataFindings::to_text(const std::string& path) const {
  nlohmann::json all = nlohmann::json::object();
  for (const auto& [kind, name] : names) {
    const auto found = found_.find(kind);
    if (found == found_.end()) continue;
    const std::string& first = found->second.first;
    const bool here = first.compare(0, path.size(), path) == 0;
    all[name] = {{"count", found->second.count},
                 {"behind_path", here},
                 {"first", here ? first.substr(path.size()) : first}};
  }
  return all.empty() ? "" : all.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

DataFindings DataFindings::from_text(const std::string& text, const std::string& path) {
  DataFindings findings;
  if (text.empty()) return findings;
  const nlohmann::json all = parse_json(text, path);
  for (const auto& [kind, name] : names) {
    const auto found = all.find(name);
    if (found == all.end()) continue;
    findings.found_[kind] = {
        found->at("count").get<int64_t>(),
        (found->at("behind_path").get<bool>() ? path : "") + found->at("first").get<std::string>()};
  }
  return findings;
}

void DataFindings::say(const std::string& path) const {
  for (const auto& [kind, found] : found_) say_one(path, kind, found.count, found.first);
}

}  // namespace collie
