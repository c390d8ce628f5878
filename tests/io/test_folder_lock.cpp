#include "base/error.hpp"
#include "io/folder_lock.hpp"
#include "tests/catch.hpp"
#include "tests/io/scratch_folder.hpp"

using collie::FolderLock;

TEST_CASE("a folder is locked by one holder at a time, and free again after it") {
  const collie::test::ScratchFolder folder;
  {
    const FolderLock lock(folder.path());
    CHECK_THROWS_AS(FolderLock(folder.path()), collie::UserError);
  }
  CHECK_NOTHROW(FolderLock(folder.path()));
}

TEST_CASE("locking a folder that is not there names the file and the reason") {
  CHECK_THROWS_WITH(FolderLock("/nowhere/at/all"),
                    "cannot open /nowhere/at/all/.lock: No such file or directory");
}
