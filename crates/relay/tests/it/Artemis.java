import org.apache.activemq.artemis.core.config.impl.ConfigurationImpl;
import org.apache.activemq.artemis.core.server.JournalType;
import org.apache.activemq.artemis.core.server.embedded.EmbeddedActiveMQ;
import org.apache.activemq.artemis.core.settings.impl.AddressSettings;

/** An Artemis for tests: STOMP on the port of the first argument, with its journal in the folder of the second. */
public class Artemis {
    public static void main(String[] arguments) throws Exception {
        var folder = arguments[1];
        var configuration = new ConfigurationImpl();
        configuration.setSecurityEnabled(false);
        configuration.setPersistenceEnabled(true);
        configuration.setJournalType(JournalType.NIO);
        configuration.setJournalDirectory(folder + "/journal");
        configuration.setBindingsDirectory(folder + "/bindings");
        configuration.setLargeMessagesDirectory(folder + "/large");
        configuration.setPagingDirectory(folder + "/paging");
        configuration.setMaxDiskUsage(-1);
        configuration.addAcceptorConfiguration(
            "stomp", "tcp://127.0.0.1:" + arguments[0] + "?protocols=STOMP");
        // Without the delays it may remove a name at the moment in which a new subscriber comes.
        configuration.addAddressSetting(
            "#",
            new AddressSettings().setAutoDeleteAddressesDelay(60_000).setAutoDeleteQueuesDelay(60_000));
        var broker = new EmbeddedActiveMQ();
        broker.setConfiguration(configuration);
        broker.start();
        Thread.currentThread().join();
    }
}
