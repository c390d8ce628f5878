#include "io/sealed_json.hpp"

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "io/json_text.hpp"

namespace collie {

using nlohmann::json;

namespace {

std::string tail_of(std::string_view body) {
  return ",\n \"sha256\": \"" + sha256_hex(std::as_bytes(std::span(body))) + "\"\n}\n";
}

}  // namespace

std::string seal(const json& object) {
  COLLIE_ASSERT(object.is_object() && !object.empty() && !object.contains("sha256"),
                "what is sealed must be an object with members, and none of them \"sha256\"");
  std::string text = object.dump(1);
  text.resize(text.size() - 2);  // the line that ends the object
  return text + tail_of(text);
}

json unseal(std::string_view text, const std::string& file) {
  static const size_t tail_size = tail_of("").size();
  const size_t body_size = text.size() - std::min(text.size(), tail_size);
  if (text.substr(body_size) != tail_of(text.substr(0, body_size)))
    throw UserError(
        "{}: it is not as it was written: it must end with the SHA-256 of what stands before it, and does "
        "not",
        file);
  return parse_json_object(text, file);
}

}  // namespace collie
