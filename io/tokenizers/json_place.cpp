#include "io/tokenizers/json_place.hpp"

#include "base/error.hpp"
#include "base/quote.hpp"
#include "io/json_text.hpp"

namespace collie {

void JsonPlace::refuse(const std::string& complaint) const {
  constexpr size_t longest = 200;
  throw UserError("{}: {}{}{}", file_, shortened(key_, longest), key_.empty() ? "" : ": ", complaint);
}

void JsonPlace::must_be(bool right, const char* wanted) const {
  if (right) return;
  refuse(fmt::format("it must be {}, not {}", wanted, in_short(*value_)));
}

JsonPlace JsonPlace::inside(const nlohmann::json& member, const std::string& key) const {
  return JsonPlace(member, file_, key_.empty() ? key : key_ + "." + key);
}

JsonPlace JsonPlace::operator[](const std::string& key) const {
  must_be(value_->is_object(), "an object");
  const auto found = value_->find(key);
  if (found == value_->end()) refuse(fmt::format("it has no '{}', which must be there", shortened(key)));
  return inside(*found, key);
}

std::optional<JsonPlace> JsonPlace::find(const std::string& key) const {
  must_be(value_->is_object(), "an object");
  const auto found = value_->find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return inside(*found, key);
}

JsonPlace JsonPlace::operator[](size_t index) const {
  must_be(value_->is_array() && index < value_->size(),
          fmt::format("a list of over {} entries", index).c_str());
  return JsonPlace((*value_)[index], file_, fmt::format("{}[{}]", key_, index));
}

size_t JsonPlace::size() const {
  must_be(value_->is_array(), "a list");
  return value_->size();
}

std::string JsonPlace::text() const {
  must_be(value_->is_string(), "a string");
  return value_->get<std::string>();
}

bool JsonPlace::flag() const {
  must_be(value_->is_boolean(), "true or false");
  return value_->get<bool>();
}

int64_t JsonPlace::integer() const {
  must_be(
      value_->is_number_integer() && !(value_->is_number_unsigned() && value_->get<uint64_t>() > INT64_MAX),
      "a whole number");
  return value_->get<int64_t>();
}

std::string JsonPlace::text(const std::string& key, const std::string& otherwise) const {
  const auto member = find(key);
  return member ? member->text() : otherwise;
}

bool JsonPlace::flag(const std::string& key, bool otherwise) const {
  const auto member = find(key);
  return member ? member->flag() : otherwise;
}

int64_t JsonPlace::integer(const std::string& key, int64_t otherwise) const {
  const auto member = find(key);
  return member ? member->integer() : otherwise;
}

}  // namespace collie
