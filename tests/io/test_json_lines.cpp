#include "io/json_lines.hpp"

#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::ScratchFolder;
using nlohmann::json;

TEST_CASE("every append is one whole line that is in the file at once") {
  const ScratchFolder folder;
  const std::string path = folder / "metrics.jsonl";
  JsonLinesFile file(path);
  CHECK(read_text_file(path).empty());
  file.append(json{{"step", 1}, {"note", "two\nlines"}});
  CHECK(read_text_file(path) == "{\"note\":\"two\\nlines\",\"step\":1}\n");
  nlohmann::ordered_json ordered;
  ordered["step"] = 2;
  ordered["loss"] = 0.5;
  file.append(ordered);
  CHECK(read_text_file(path) == "{\"note\":\"two\\nlines\",\"step\":1}\n{\"step\":2,\"loss\":0.5}\n");
}

TEST_CASE("an existing file is continued, and a torn last line cannot spoil the next") {
  const ScratchFolder folder;
  const std::string whole = folder.write("whole", "{\"step\":1}\n");
  JsonLinesFile(whole).append(json{{"step", 2}});
  CHECK(read_text_file(whole) == "{\"step\":1}\n{\"step\":2}\n");
  const std::string torn = folder.write("torn", "{\"step\":1,\"lo");
  JsonLinesFile file(torn);
  file.append(json{{"step", 2}});
  file.append(json{{"step", 3}});
  CHECK(read_text_file(torn) == "{\"step\":1,\"lo\n{\"step\":2}\n{\"step\":3}\n");
}

TEST_CASE("an amended line is in the place of the last one, also of a torn one") {
  const ScratchFolder folder;
  const std::string path = folder.write("m", "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"lo");
  JsonLinesFile file(path);
  file.amend(2, {{"step", 2}, {"eval_loss", 0.5}});
  CHECK(read_text_file(path) == "{\"step\":1}\n{\"step\":2,\"eval_loss\":0.5}\n");
  file.append(json{{"step", 3}});
  CHECK(read_text_file(path) == "{\"step\":1}\n{\"step\":2,\"eval_loss\":0.5}\n{\"step\":3}\n");
}

TEST_CASE("numbers in a line read back exactly, and those JSON lacks become null") {
  const ScratchFolder folder;
  const std::string path = folder / "m";
  const std::vector<double> numbers = {0.1,         1.0 / 3, 3e-4, 1e300, 5e-324, -0.0, 123456789.123456789,
                                       double(0.1F)};
  {
    JsonLinesFile file(path);
    file.append(json{{"numbers", numbers}, {"large", std::numeric_limits<int64_t>::max()}});
    file.append(json{{"nan", std::nan("")}, {"inf", -std::numeric_limits<double>::infinity()}});
    file.append(json{{"bytes", "\xff\xfe"}});
  }
  const std::string text = read_text_file(path);
  const size_t first = text.find('\n'), second = text.find('\n', first + 1);
  const json line = json::parse(text.substr(0, first));
  CHECK(line["large"] == std::numeric_limits<int64_t>::max());
  for (size_t i = 0; i < numbers.size(); ++i) {
    CAPTURE(i);
    CHECK(std::bit_cast<uint64_t>(line["numbers"][i].get<double>()) == std::bit_cast<uint64_t>(numbers[i]));
  }
  CHECK(text.substr(first + 1, second - first - 1) == "{\"inf\":null,\"nan\":null}");
  CHECK(json::parse(text.substr(second + 1)).is_object());
}

TEST_CASE("a full disk is a failure of the run that names the file") {
  JsonLinesFile full("/dev/full");
  try {
    full.append(json{{"step", 1}});
    FAIL("no error");
  } catch (const RunError& error) {
    CHECK(std::string(error.what()) == "cannot write /dev/full: No space left on device");
  }
  CHECK_THROWS_AS(JsonLinesFile("/nowhere/at/all"), RunError);
}

TEST_CASE("truncation keeps the lines up to the step and drops a torn last one") {
  const ScratchFolder folder;
  const std::string path = folder.write(
      "m", "{\"step\":1}\n{\"note\":\"no step\"}\n{\"loss\":2.50,\"step\":2}\n{\"step\":3}\n{\"st");
  CHECK(truncate_after_step(path, 2) == 2);
  CHECK(read_text_file(path) == "{\"step\":1}\n{\"note\":\"no step\"}\n{\"loss\":2.50,\"step\":2}\n");
  CHECK(truncate_after_step(path, 2) == 0);
  CHECK(truncate_after_step(path, 0) == 2);
  CHECK(read_text_file(path) == "{\"note\":\"no step\"}\n");
}

TEST_CASE("truncation survives lines that are no objects, and ends a whole last line") {
  const ScratchFolder folder;
  const std::string path = folder.write(
      "m", std::string("{\"step\":1}\nrubbish\n[1]\n\n") + std::string(3, '\0') + "\n{\"step\":2}");
  CHECK(truncate_after_step(path, 5) == 4);
  CHECK(read_text_file(path) == "{\"step\":1}\n{\"step\":2}\n");
}

TEST_CASE("truncation leaves a missing file missing and an empty one empty") {
  const ScratchFolder folder;
  CHECK(truncate_after_step(folder / "none", 3) == 0);
  CHECK_FALSE(std::filesystem::exists(folder / "none"));
  const std::string empty = folder.write("empty", "");
  CHECK(truncate_after_step(empty, 3) == 0);
  CHECK(read_text_file(empty).empty());
}
