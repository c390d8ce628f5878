#include "io/json_text.hpp"

#include "base/error.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"

using namespace collie;
using collie::test::contains;
using nlohmann::json;

namespace {

std::string refused_json(const std::string& text) {
  try {
    parse_json(text, "f.json");
  } catch (const UserError& error) {
    return error.what();
  }
  return "accepted";
}

std::string nested(const std::string& open, const std::string& inside, const std::string& close, int depth) {
  std::string text;
  for (int i = 0; i < depth; ++i) text += open;
  text += inside;
  for (int i = 0; i < depth; ++i) text += close;
  return text;
}

}  // namespace

TEST_CASE("JSON of every kind is read as it stands") {
  for (const char* text :
       {"null", "true", "-3", "18446744073709551615", "0.1", "1e300", "\"caf\\u00e9\\n\\ud83d\\ude00\"", "[]",
        "{}", "[1,[2,{\"a\":[]}],\"x\"]", "{\"a\":{\"b\":[null,{\"c\":1}]},\"d\":2}", " [ 1 , 2 ] \n"}) {
    CAPTURE(text);
    CHECK(parse_json(text, "") == json::parse(text));
  }
  CHECK(parse_json("\xEF\xBB\xBF{\"a\":1}", "") == json{{"a", 1}});
}

TEST_CASE("what is no JSON is refused with its place and reason") {
  const std::string no_json = "f.json: it is not JSON (byte ";
  for (const std::string text :
       {"", "{", "[1,]", "{\"a\" 1}", "nul", "NaN", "Infinity", "-", "01", "1 2", "{} x", "'a'", "\"a\xff\"",
        "\"\xed\xa0\x80\"", "\"a", "\"\\ud800\"", "// a\n1", "1e999", "\x01"}) {
    CAPTURE(text);
    const std::string message = refused_json(text);
    CHECK(message.find("it is not JSON") != std::string::npos);
    CHECK(message.size() < 300);
  }
  CHECK(refused_json("{\n\"a\": 1,\n\"b\" 2}").find("f.json:3: it is not JSON (byte 15)") == 0);
  CHECK(refused_json("[1").find(no_json + "3): unexpected end of input") == 0);
}

TEST_CASE("a NUL byte does not end the text") {
  const std::string text("{\"a\": 1}\0{", 10);
  CHECK(refused_json(text) == "f.json: it is not JSON: a NUL byte");
  CHECK(refused_json(std::string("{\n}\0", 4)) == "f.json:2: it is not JSON: a NUL byte");
}

TEST_CASE("a message quotes little of a long text") {
  const std::string long_text(1 << 20, 'x');
  CHECK(refused_json(long_text).size() < 300);
  CHECK(refused_json("\"" + long_text).size() < 300);
  CHECK(refused_json("{\"" + long_text + "\": 1, \"" + long_text + "\": 2}").size() < 300);
  CHECK(refused_json(std::string(1 << 20, '9')) != "");
  CHECK(refused_json("1" + std::string(1 << 20, '0')).size() < 300);
}

TEST_CASE("a key that is twice in one object is refused, at any depth") {
  CHECK(refused_json("{\"a\": 1, \"b\": 2, \"a\": 3}") ==
        "f.json: key 'a' is there twice in one object; it must be there once");
  CHECK(refused_json("[\n{\"x\": {\"a\": 1,\n\"a\": 3}}]") ==
        "f.json:3: key 'a' is there twice in one object; it must be there once");
  CHECK(refused_json("{\"a\": {\"a\": [{\"a\": 1}, {\"a\": 1}]}}") == "accepted");
}

TEST_CASE("keys keep their order where that is asked for, with the same refusals") {
  const std::string text = R"({"z": [{"b": 1, "a": {}}], "a": "x", "m": null})";
  CHECK(parse_ordered_json(text, "f.json").dump() == R"({"z":[{"b":1,"a":{}}],"a":"x","m":null})");
  CHECK_THROWS_WITH(parse_ordered_json(R"({"a": {"b": 1, "c": 2, "b": 3}})", "f.json"),
                    contains("key 'b' is there twice"));
  CHECK(parse_ordered_json(R"([{"a": 1}, {"a": 2}])", "f.json").size() == 2);
  CHECK_THROWS_WITH(parse_ordered_json(std::string(200, '['), "f.json"), contains("one inside the other"));
  std::string many = "{";
  for (int i = 0; i < 100'000; ++i) many += "\"k" + std::to_string(i) + "\":1,";
  CHECK(parse_ordered_json(many + "\"z\":1}", "f.json").size() == 100'001);
}

TEST_CASE("depth is bounded while the text is read") {
  CHECK(refused_json(nested("[", "", "]", deepest_json)) == "accepted");
  CHECK(refused_json(nested("{\"a\":", "1", "}", deepest_json)) == "accepted");
  const std::string message = "f.json: more than 100 lists and objects are one inside the other";
  CHECK(refused_json(nested("[", "", "]", deepest_json + 1)) == message);
  CHECK(refused_json(nested("{\"a\":", "1", "}", deepest_json + 1)) == message);
  CHECK(refused_json(std::string(1 << 22, '[')) == message);
  CHECK(refused_json(nested("[{\"a\":", "1", "}]", 1 << 20)) == message);
}

TEST_CASE("what must be an object is, and its keys have lines") {
  std::map<std::string, int> lines;
  const json object = parse_json_object("{\n\"a\": 1,\n\n\"b\": {\"c\":\n2}, \"d\": 3}", "f.json", &lines);
  CHECK(object == json{{"a", 1}, {"b", {{"c", 2}}}, {"d", 3}});
  CHECK(lines == std::map<std::string, int>{{"a", 2}, {"b", 4}, {"d", 5}});
  CHECK_THROWS_WITH(parse_json_object("[1, 2]", "f.json"), "f.json: it must be a JSON object, not [1, 2]");
}

TEST_CASE("a value in a message is short") {
  CHECK(in_short(json::parse(R"({"a": [1, 2.5, "x"], "b": null})")) == R"({"a": [1, 2.5, "x"], "b": null})");
  CHECK(in_short("text") == "\"text\"");
  CHECK(in_short(json::array()) == "[]");
  CHECK(in_short(std::string(1000, 'a')).size() < 100);
  CHECK(in_short(json(std::vector<int>(100000, 7))).size() < 100);
  json deep = 1;
  for (int i = 0; i < 90; ++i) deep = json::array({deep});
  CHECK(in_short(deep).size() < 100);
  CHECK(in_short(json{{std::string(1000, 'k'), std::string(1000, 'v')}}).size() < 100);
}
