import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.util.Properties;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.config.Configurator;
import org.rsna.ctp.stdstages.anonymizer.AnonymizerStatus;
import org.rsna.ctp.stdstages.anonymizer.LookupTable;
import org.rsna.ctp.stdstages.anonymizer.dicom.DAScript;
import org.rsna.ctp.stdstages.anonymizer.dicom.DICOMAnonymizer;

/**
 * Runs the anonymizer class of stock CTP, and nothing around it, so that tests can compare.
 *
 * Each line of the input has, with tabs between them: script, lookup table, object, result. For
 * each, one line is written: RESULT and OK, QUARANTINE, SKIP or ERROR with a class.
 */
public class Anonymize {
    public static void main(String[] arguments) throws Exception {
        Configurator.setRootLevel(Level.OFF);
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, "UTF-8"));
        String line;
        while ((line = lines.readLine()) != null) {
            String[] names = line.split("\t");
            Properties script = DAScript.getInstance(new File(names[0])).toProperties();
            Properties lookup = LookupTable.getProperties(new File(names[1]));
            AnonymizerStatus status;
            try {
                status = DICOMAnonymizer.anonymize(
                    new File(names[2]), new File(names[3]), script, lookup, null, false, false);
            } catch (Throwable error) {
                say("ERROR " + error.getClass().getName());
                continue;
            }
            say(status.isOK() ? "OK" : status.isSKIP() ? "SKIP" : "QUARANTINE");
        }
    }

    private static void say(String result) {
        System.out.println("RESULT " + result);
        System.out.flush();
    }
}
