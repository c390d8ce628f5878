#include "io/csv_file.hpp"

#include <sys/resource.h>

#include <csignal>

#include "base/error.hpp"
#include "io/files.hpp"
#include "tests/catch.hpp"
#include "tests/io/matchers.hpp"
#include "tests/io/scratch_folder.hpp"

using namespace collie;
using collie::test::contains;
using collie::test::ScratchFolder;

TEST_CASE(
    "CSV: every row is whole and in the file at once, under the names of "
    "the first") {
  const ScratchFolder folder;
  const std::string path = folder / "m.csv";
  CsvFile file(path);
  CHECK(read_text_file(path).empty());
  file.append({{"step", "1"}, {"loss", "0.5"}});
  CHECK(read_text_file(path) == "step,loss\n1,0.5\n");
  file.append({{"loss", "0.25"}, {"step", "2"}});
  file.append({{"step", "3"}});
  CHECK(read_text_file(path) == "step,loss\n1,0.5\n2,0.25\n3,\n");
}

TEST_CASE("CSV: a name that appears later is a column of all rows") {
  const ScratchFolder folder;
  const std::string path = folder / "m.csv";
  CsvFile file(path);
  file.append({{"step", "1"}, {"note", "a\nb,\"c\""}});
  file.append({{"step", "2"}, {"eval_loss", "4.5"}, {"other", "7"}});
  file.append({{"step", "3"}, {"note", "x"}});
  const std::string text = "step,note,eval_loss,other\n1,\"a\nb,\"\"c\"\"\",,\n2,,4.5,7\n3,x,,\n";
  CHECK(read_text_file(path) == text);
  CsvFile(path).append({{"other", "8"}, {"step", "4"}});  // the columns are those of the file
  CHECK(read_text_file(path) == text + "4,,,8\n");
}

TEST_CASE("CSV: names and texts with commas, quotes and line ends are quoted") {
  const ScratchFolder folder;
  const std::string path = folder / "m.csv";
  CsvFile(path).append({{"a,b", "\""}, {"c\r", "\"\"\n\n"}, {"plain", "it's; fine"}});
  CHECK(read_text_file(path) == "\"a,b\",\"c\r\",plain\n\"\"\"\",\"\"\"\"\"\n\n\",it's; fine\n");
  CsvFile(path).append({{"c\r", "2"}});
  CHECK(read_text_file(path).ends_with("\n,2,\n"));
}

TEST_CASE("CSV: a cut keeps the rows up to the step and drops a torn last one") {
  const ScratchFolder folder;
  const std::string path = folder.write("m.csv", "step,note\n1,\"two\nlines, 9\"\n2,\n3,three\n4,\"torn\n");
  cut_csv(path, "step", 3);
  CHECK(read_text_file(path) == "step,note\n1,\"two\nlines, 9\"\n2,\n3,three\n");
  cut_csv(path, "step", 1);
  CHECK(read_text_file(path) == "step,note\n1,\"two\nlines, 9\"\n");
  cut_csv(path, "step", 0);
  CHECK(read_text_file(path) == "step,note\n");
  CsvFile(path).append({{"step", "1"}});
  CHECK(read_text_file(path) == "step,note\n1,\n");
}

TEST_CASE("CSV: a cut finds its column anywhere, and drops rows that do not fit") {
  const ScratchFolder folder;
  const std::string path =
      folder.write("m.csv", "loss,step\n0.5,1\n0.5\n0.5,2,3\n0.5,two\n0.5,2x\n\n0.5,2\n0.5,3\n");
  cut_csv(path, "step", 2);
  CHECK(read_text_file(path) == "loss,step\n0.5,1\n0.5,2\n");
}

TEST_CASE(
    "CSV: a cut leaves a missing file missing, and a file without rows "
    "of a run") {
  const ScratchFolder folder;
  cut_csv(folder / "none", "step", 3);
  CHECK_FALSE(std::filesystem::exists(folder / "none"));
  for (const char* text : {"", "step,lo"}) {
    const std::string path = folder.write("m.csv", text);
    cut_csv(path, "step", 3);
    CHECK(read_text_file(path).empty());
  }
  const std::string foreign = folder.write("m.csv", "name,price\ntea,3\n");
  CHECK_THROWS_WITH(cut_csv(foreign, "step", 3), contains(foreign) && contains("no column 'step'"));
  CHECK_THROWS_AS(cut_csv(foreign, "step", 3), UserError);
  CHECK(read_text_file(foreign) == "name,price\ntea,3\n");
}

TEST_CASE("CSV: an amended row is in the place of the last one, with its new columns") {
  const ScratchFolder folder;
  const std::string path = folder / "m.csv";
  CsvFile file(path);
  for (const char* step : {"1", "2", "3"}) file.append({{"step", step}, {"loss", "0.5"}});
  file.amend({{"step", "3"}, {"loss", "0.5"}, {"eval_loss", "0.75"}}, "step", 3);
  CHECK(read_text_file(path) == "step,loss,eval_loss\n1,0.5,\n2,0.5,\n3,0.5,0.75\n");
  file.amend({{"step", "2"}, {"loss", "0.25"}}, "step", 2);
  file.append({{"step", "3"}});
  CHECK(read_text_file(path) == "step,loss,eval_loss\n1,0.5,\n2,0.25,\n3,,\n");
  CsvFile empty(folder / "empty.csv");
  empty.amend({{"step", "4"}}, "step", 4);
  CHECK(read_text_file(folder / "empty.csv") == "step\n4\n");
}
